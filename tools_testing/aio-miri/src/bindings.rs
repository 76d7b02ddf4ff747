// SPDX-License-Identifier: GPL-2.0

//! What is C in the kernel.

use core::{
    alloc::Layout,
    ffi::{c_int, c_void},
    ptr::{null_mut, NonNull},
};
use std::{
    alloc::{alloc, alloc_zeroed, dealloc},
    cell::Cell,
    sync::{
        atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering::*},
        Mutex,
    },
};

pub const GFP_KERNEL: u32 = 1;
pub const TAINT_WARN: u32 = 9;
pub const IOCB_AIO_RW: u32 = 1 << 23;

pub unsafe fn BUG() -> ! {
    panic!("BUG");
}

pub unsafe fn test_taint(_: u32) -> c_int {
    0
}

// Lists: include/linux/list.h.

#[repr(C)]
#[derive(pin_init::Zeroable)]
pub struct list_head {
    pub next: *mut list_head,
    pub prev: *mut list_head,
}

impl Default for list_head {
    fn default() -> Self {
        pin_init::zeroed()
    }
}

pub unsafe fn INIT_LIST_HEAD(list: *mut list_head) {
    unsafe {
        (*list).next = list;
        (*list).prev = list;
    }
}

pub unsafe fn list_add_tail(new: *mut list_head, head: *mut list_head) {
    unsafe {
        let prev = (*head).prev;

        (*head).prev = new;
        (*new).next = head;
        (*new).prev = prev;
        (*prev).next = new;
    }
}

pub unsafe fn list_del_init(entry: *mut list_head) {
    unsafe {
        let (prev, next) = ((*entry).prev, (*entry).next);

        (*next).prev = prev;
        (*prev).next = next;
        INIT_LIST_HEAD(entry);
    }
}

pub unsafe fn list_splice_init(list: *mut list_head, head: *mut list_head) {
    unsafe {
        let (first, last, after) = ((*list).next, (*list).prev, (*head).next);

        if first != list {
            (*first).prev = head;
            (*head).next = first;
            (*last).next = after;
            (*after).prev = last;
            INIT_LIST_HEAD(list);
        }
    }
}

pub unsafe fn list_splice_tail_init(list: *mut list_head, head: *mut list_head) {
    // In front of the head is behind the last.
    unsafe { list_splice_init(list, (*head).prev) };
}

pub unsafe fn list_sort(
    private: *mut c_void,
    head: *mut list_head,
    compare: Option<
        unsafe extern "C" fn(*mut c_void, *const list_head, *const list_head) -> c_int,
    >,
) {
    let compare = compare.expect("a function");
    let mut entries = Vec::new();

    unsafe {
        while (*head).next != head {
            let entry = (*head).next;

            list_del_init(entry);
            entries.push(entry);
        }
        entries.sort_by(|a, b| compare(private, *a, *b).cmp(&0));
        for entry in entries {
            list_add_tail(entry, head);
        }
    }
}

unsafe fn next<'a>(entry: *const list_head) -> &'a core::sync::atomic::AtomicPtr<list_head> {
    unsafe { core::sync::atomic::AtomicPtr::from_ptr((&raw const (*entry).next).cast_mut()) }
}

pub unsafe fn list_del_init_careful(entry: *mut list_head) {
    unsafe {
        let (prev, after) = ((*entry).prev, (*entry).next);

        (*after).prev = prev;
        next(prev).store(after, Relaxed);
        (*entry).prev = entry;
        next(entry).store(entry, Release);
    }
}

pub unsafe fn list_empty_careful(head: *const list_head) -> bool {
    unsafe { next(head).load(Acquire).cast_const() == head }
}

// Spinlocks.

#[repr(C)]
pub struct spinlock_t(AtomicBool);

pub unsafe fn __spin_lock_init(lock: *mut spinlock_t, _name: *const u8, _key: *mut c_void) {
    unsafe { lock.write(spinlock_t(AtomicBool::new(false))) };
}

impl spinlock_t {
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub fn lock(&self) {
        while self.0.compare_exchange(false, true, Acquire, Relaxed).is_err() {
            std::thread::yield_now();
        }
    }

    pub fn unlock(&self) {
        self.0.store(false, Release);
    }
}

// Memory: each allocation has its layout in front.

const HEADER: usize = 64;

pub fn kmalloc(layout: Layout, zero: bool) -> NonNull<u8> {
    let whole = Layout::from_size_align(layout.size() + HEADER, HEADER).expect("a layout");

    assert!(layout.align() <= HEADER);
    unsafe {
        let ptr = if zero { alloc_zeroed(whole) } else { alloc(whole) };

        ptr.cast::<Layout>().write(whole);
        NonNull::new(ptr.add(HEADER)).expect("memory")
    }
}

pub unsafe fn kfree(ptr: *mut u8) {
    unsafe {
        let ptr = ptr.sub(HEADER);

        dealloc(ptr, ptr.cast::<Layout>().read());
    }
}

// Slab caches.

pub const SLAB_HWCACHE_ALIGN: u32 = 1;

#[repr(C)]
#[derive(pin_init::Zeroable)]
pub struct kmem_cache_args {
    pub align: u32,
}

pub struct kmem_cache(Layout);

pub unsafe fn __kmem_cache_create_args(
    _name: *const u8,
    size: u32,
    args: *mut kmem_cache_args,
    _flags: u32,
) -> *mut kmem_cache {
    let align = unsafe { (*args).align };
    let layout = Layout::from_size_align(size as usize, align as usize).expect("a layout");

    Box::into_raw(Box::new(kmem_cache(layout)))
}

pub unsafe fn kmem_cache_destroy(cache: *mut kmem_cache) {
    drop(unsafe { Box::from_raw(cache) });
}

pub unsafe fn kmem_cache_alloc(cache: *mut kmem_cache, _flags: u32) -> *mut c_void {
    unsafe { alloc((*cache).0).cast() }
}

pub unsafe fn kmem_cache_free(cache: *mut kmem_cache, ptr: *mut c_void) {
    unsafe { dealloc(ptr.cast(), (*cache).0) };
}

pub unsafe fn kasan_mempool_poison_object(_ptr: *mut c_void) -> bool {
    true
}

pub unsafe fn kasan_mempool_unpoison_object(ptr: *mut c_void, size: usize) {
    // Nobody may rely on what was there before.
    unsafe {
        ptr.cast::<u8>()
            .cast::<core::mem::MaybeUninit<u8>>()
            .copy_from_nonoverlapping(vec![core::mem::MaybeUninit::uninit(); size].as_ptr(), size)
    };
}

// Per-CPU variables: each thread is a CPU.

const CPUS: usize = 4;
const STRIDE: usize = 64;

static NEXT_CPU: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static CPU: Cell<usize> = Cell::new(NEXT_CPU.fetch_add(1, Relaxed) % CPUS);
    static IRQS_OFF: Cell<usize> = const { Cell::new(0) };
}

/// Who has a CPU's interrupts off has its lock, so that nobody does what an interrupt would.
static IRQS: [spinlock_t; CPUS] = [const { spinlock_t::new() }; CPUS];

pub unsafe fn __alloc_percpu(size: usize, align: usize) -> *mut c_void {
    assert!(size <= STRIDE && align <= STRIDE);
    let layout = Layout::from_size_align(CPUS * STRIDE, STRIDE).expect("a layout");

    kmalloc(layout, true).as_ptr().cast()
}

pub unsafe fn free_percpu(ptr: *mut c_void) {
    unsafe { kfree(ptr.cast()) };
}

pub unsafe fn this_cpu_ptr(ptr: *mut c_void) -> *mut c_void {
    unsafe { per_cpu_ptr(ptr, CPU.get() as c_int) }
}

pub unsafe fn per_cpu_ptr(ptr: *mut c_void, cpu: c_int) -> *mut c_void {
    unsafe { ptr.byte_add(cpu as usize * STRIDE) }
}

/// The caller does what the CPUs would, one after the other.
pub unsafe fn on_each_cpu_cond(
    wanted: Option<unsafe extern "C" fn(c_int, *mut c_void) -> bool>,
    f: Option<unsafe extern "C" fn(*mut c_void)>,
    info: *mut c_void,
    _wait: bool,
) {
    let (wanted, f, own) = (wanted.expect("a function"), f.expect("a function"), CPU.get());

    assert_eq!(IRQS_OFF.get(), 0);
    for cpu in 0..CPUS {
        if unsafe { wanted(cpu as c_int, info) } {
            CPU.set(cpu);
            unsafe {
                let flags = local_irq_save();

                f(info);
                local_irq_restore(flags);
            }
            CPU.set(own);
        }
    }
}

pub unsafe fn cpus_read_lock() {}

pub unsafe fn cpus_read_unlock() {}

pub unsafe fn next_possible_cpu(cpu: c_int) -> c_int {
    if cpu + 1 < CPUS as c_int {
        cpu + 1
    } else {
        -1
    }
}

pub unsafe fn cpu_online(_cpu: c_int) -> bool {
    true
}

pub unsafe fn this_cpu_inc_ulong(ptr: *mut usize) {
    unsafe {
        AtomicUsize::from_ptr(this_cpu_ptr(ptr.cast()).cast()).fetch_add(1, Relaxed);
    }
}

pub unsafe fn percpu_sum_ulong(ptr: *mut usize) -> usize {
    (0..CPUS)
        .map(|cpu| unsafe { AtomicUsize::from_ptr(ptr.byte_add(cpu * STRIDE)).load(Relaxed) })
        .fold(0, usize::wrapping_add)
}

pub unsafe fn percpu_sum_u32(ptr: *mut u32) -> u32 {
    (0..CPUS)
        .map(|cpu| unsafe { AtomicU32::from_ptr(ptr.byte_add(cpu * STRIDE)).load(Relaxed) })
        .fold(0, u32::wrapping_add)
}

pub unsafe fn num_possible_cpus() -> u32 {
    CPUS as u32
}

pub unsafe fn local_irq_save() -> usize {
    let depth = IRQS_OFF.get();

    if depth == 0 {
        IRQS[CPU.get()].lock();
    }
    IRQS_OFF.set(depth + 1);
    depth
}

pub unsafe fn local_irq_restore(flags: usize) {
    IRQS_OFF.set(flags);
    if flags == 0 {
        IRQS[CPU.get()].unlock();
    }
}

// Tasks: a thread is one.

pub struct task_struct(u8);

thread_local! {
    static TASK: task_struct = const { task_struct(0) };
}

pub unsafe fn get_current() -> *mut task_struct {
    TASK.with(|task| core::ptr::from_ref(task).cast_mut())
}

// RCU: callbacks are called by whoever waits, when there are no readers at all.

static READERS: AtomicUsize = AtomicUsize::new(0);

struct Callback(Box<dyn FnOnce()>);
unsafe impl Send for Callback {}

static CALLBACKS: Mutex<Vec<Callback>> = Mutex::new(Vec::new());

pub unsafe fn rcu_read_lock() {
    READERS.fetch_add(1, SeqCst);
}

pub unsafe fn rcu_read_unlock() {
    READERS.fetch_sub(1, SeqCst);
}

pub unsafe fn preempt_disable() {
    unsafe { rcu_read_lock() };
}

pub unsafe fn preempt_enable() {
    unsafe { rcu_read_unlock() };
}

pub fn call_rcu(f: impl FnOnce() + 'static) {
    CALLBACKS.lock().expect("a lock").push(Callback(Box::new(f)));
}

/// Returns whether there was something to do.
pub fn rcu_try_callbacks() -> bool {
    let callbacks = core::mem::take(&mut *CALLBACKS.lock().expect("a lock"));
    let any = !callbacks.is_empty();

    if READERS.load(SeqCst) != 0 {
        CALLBACKS.lock().expect("a lock").extend(callbacks);
        return false;
    }
    for callback in callbacks {
        (callback.0)();
    }
    any
}

pub fn synchronize_rcu() {
    while READERS.load(SeqCst) != 0 {
        std::thread::yield_now();
    }
    rcu_try_callbacks();
}

pub fn rcu_barrier() {
    synchronize_rcu();
    while rcu_try_callbacks() {}
}

#[repr(C)]
pub struct kvfree_rcu_head([usize; 2]);

pub unsafe fn kvfree_call_rcu(_head: *mut kvfree_rcu_head, ptr: *mut c_void) {
    call_rcu(move || unsafe { kfree(ptr.cast()) });
}

pub unsafe fn array_index_nospec(index: usize, _size: usize) -> usize {
    index
}

// Work items: those of RCU are run by whoever waits for a grace period.

pub type work_func_t = Option<unsafe extern "C" fn(*mut work_struct)>;

#[repr(C)]
pub struct work_struct {
    data: usize,
    func: Option<unsafe extern "C" fn(*mut work_struct)>,
}

#[repr(C)]
pub struct rcu_work {
    pub work: work_struct,
    rcu: [usize; 2],
    wq: *mut c_void,
}

pub static mut system_percpu_wq: *mut c_void = null_mut();

pub unsafe fn init_work_with_key(
    work: *mut work_struct,
    func: Option<unsafe extern "C" fn(*mut work_struct)>,
    _on_stack: bool,
    _name: *const u8,
    _key: *mut c_void,
) {
    unsafe { work.write(work_struct { data: 0, func }) };
}

pub unsafe fn queue_rcu_work(_wq: *mut c_void, rwork: *mut rcu_work) -> bool {
    call_rcu(move || unsafe {
        let work = &raw mut (*rwork).work;

        (*work).func.expect("a function")(work);
    });
    true
}

// percpu_ref: a plain count, whose initial reference goes after a grace period.

#[repr(C)]
pub struct percpu_ref {
    count: AtomicUsize,
    dead: AtomicBool,
    release: Option<unsafe extern "C" fn(*mut percpu_ref)>,
    /// For Miri to find out if it is not freed, or used afterwards.
    data: *mut usize,
}

pub unsafe fn percpu_ref_init(
    r: *mut percpu_ref,
    release: Option<unsafe extern "C" fn(*mut percpu_ref)>,
    _flags: u32,
    _gfp: u32,
) -> c_int {
    unsafe {
        r.write(percpu_ref {
            count: AtomicUsize::new(1),
            dead: AtomicBool::new(false),
            release,
            data: Box::into_raw(Box::new(0)),
        });
    }
    0
}

pub unsafe fn percpu_ref_exit(r: *mut percpu_ref) {
    unsafe { drop(Box::from_raw((*r).data)) };
}

pub unsafe fn percpu_ref_get(r: *mut percpu_ref) {
    unsafe { (*r).count.fetch_add(1, Relaxed) };
}

pub unsafe fn percpu_ref_tryget_live_rcu(r: *mut percpu_ref) -> bool {
    unsafe {
        if (*r).dead.load(Relaxed) {
            return false;
        }
        (*r).count.fetch_add(1, Relaxed);
    }
    true
}

pub unsafe fn percpu_ref_put(r: *mut percpu_ref) {
    unsafe {
        let release = (*r).release;

        if (*r).count.fetch_sub(1, AcqRel) == 1 {
            release.expect("a function")(r);
        }
    }
}

pub unsafe fn percpu_ref_kill(r: *mut percpu_ref) {
    unsafe { (*r).dead.store(true, Relaxed) };
    call_rcu(move || unsafe { percpu_ref_put(r) });
}

pub unsafe fn percpu_ref_is_unused(r: *mut percpu_ref) -> bool {
    unsafe { !(*r).dead.load(Relaxed) && (*r).count.load(Relaxed) == 1 }
}

pub unsafe fn percpu_ref_abandon(r: *mut percpu_ref) {
    unsafe { (*r).dead.store(true, Relaxed) };
}

// struct kiocb, as far as it matters.

#[repr(C)]
#[derive(pin_init::Zeroable)]
pub struct kiocb {
    pub ki_filp: *mut c_void,
    pub ki_flags: c_int,
    pub private: *mut c_void,
}

pub type kiocb_cancel_fn = Option<unsafe extern "C" fn(*mut kiocb) -> c_int>;

extern "C" {
    pub fn aio_set_cancel_fn(kiocb: *mut kiocb, cancel: kiocb_cancel_fn);
}

pub unsafe fn kiocb_set_cancel_fn(kiocb: *mut kiocb, cancel: kiocb_cancel_fn) {
    unsafe { aio_set_cancel_fn(kiocb, cancel) };
}
