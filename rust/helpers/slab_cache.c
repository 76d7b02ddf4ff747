// SPDX-License-Identifier: GPL-2.0

#include <linux/kasan.h>
#include <linux/slab.h>

__rust_helper void *rust_helper_kmem_cache_alloc(struct kmem_cache *cache,
						 gfp_t flags)
{
	return kmem_cache_alloc(cache, flags);
}

__rust_helper bool rust_helper_kasan_mempool_poison_object(void *ptr)
{
	return kasan_mempool_poison_object(ptr);
}

__rust_helper void rust_helper_kasan_mempool_unpoison_object(void *ptr, size_t size)
{
	kasan_mempool_unpoison_object(ptr, size);
}
