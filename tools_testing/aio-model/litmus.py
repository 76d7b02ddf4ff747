# SPDX-License-Identifier: GPL-2.0
"""Each pair of barriers in AIO as a litmus test, on processors that reorder.

Run by model.py. A thread is a list of operations, which are done in any order that its
processor allows: all but the pairs that a barrier, an acquire, a release, a dependency
or the same variable orders. So a load may be done before an earlier load or store, and
a store before an earlier load or store. What is done is seen by all processors at
once, as on arm64 and riscv64 (LKMM calls that multicopy atomicity). All orders are
tried; none of them may have the outcome that the test calls bad, and without one of the
barriers there must be one that has. Orders that only compilers could make are not
tried: each access is one that compilers may not move (READ_ONCE(), atomics).

Stronger than LKMM in one point: a load is not done before an earlier store of the same
thread to the same variable.
"""


class Op:
    """One operation.

    var     the variable, None for a barrier
    load    the register that gets the value, or None
    store   what is stored: a number, or a function of the old value
    acquire, release
    addr    registers that the address or the value depends on: orders all
    ctrl    (register, value) that must be for this to happen: orders stores; a load may
            be done before, and is of no account if the condition turns out wrong
    barrier "r", "w", "full", "sync", "reader", "end"
    wait    a value that the variable must have first: a lock
    """

    def __init__(self, var=None, load=None, store=None, acquire=False, release=False,
                 addr=(), ctrl=None, barrier=None, wait=None):
        self.var, self.load, self.store = var, load, store
        self.acquire, self.release = acquire, release
        self.addr, self.ctrl, self.barrier, self.wait = addr, ctrl, barrier, wait

    @property
    def loads(self):
        return self.var is not None and (self.load is not None or callable(self.store) or
                                         self.wait is not None)

    @property
    def stores(self):
        return self.store is not None


def read(var, reg, **kw):
    return Op(var, load=reg, **kw)


def write(var, value, **kw):
    return Op(var, store=value, **kw)


def update(var, function, reg=None, **kw):
    """An atomic read-modify-write operation."""
    return Op(var, load=reg, store=function, **kw)


def lock(var):
    return Op(var, store=1, wait=0, acquire=True)


def unlock(var):
    return Op(var, store=0, release=True)


RMB, WMB, MB = Op(barrier="r"), Op(barrier="w"), Op(barrier="full")
# A grace period of RCU, and a read-side critical section.
SYNC = Op(barrier="sync")


def ordered(ops, i, j):
    """Whether operation @i of a thread is done before @j, where i < j."""
    a, b = ops[i], ops[j]
    if a.barrier in ("full", "sync") or b.barrier in ("full", "sync"):
        return True
    if a.barrier == "r":
        return b.loads
    if a.barrier == "w":
        return b.stores
    if b.barrier == "r":
        return a.loads
    if b.barrier == "w":
        return a.stores
    if a.acquire or b.release or a.var == b.var:
        return True
    if a.load is not None:
        if a.load in b.addr:
            return True
        if b.ctrl and b.ctrl[0] == a.load and b.stores:
            return True
    return False


class Litmus:
    """@threads of operations, @init of variables that are not 0, and @bad, a function of
    the registers and the variables at the end. @readers are threads that are within a
    read-side critical section of RCU. @mistakes: a name, and the threads with it."""

    def __init__(self, name, threads, bad, mistakes, init=None, readers=()):
        self.name, self.threads, self.bad = name, threads, bad
        self.mistakes, self.init, self.readers = mistakes, init or {}, readers

    def explore(self, threads):
        """Returns how many states there are, and a bad end if there is one."""
        before = {t: [[i for i in range(j) if ordered(ops, i, j)] for j in range(len(ops))]
                  for t, ops in threads.items()}
        names = {op.var for ops in threads.values() for op in ops if op.var is not None}
        memory = tuple(sorted((n, self.init.get(n, 0)) for n in names))
        first = (memory, (), tuple((t, 0) for t in threads), None)
        todo, seen = [(first, ())], {first}
        while todo:
            state, path = todo.pop()
            memory, regs, done, begun = dict(state[0]), dict(state[1]), dict(state[2]), state[3]
            final = True
            for t, ops in threads.items():
                for j, op in enumerate(ops):
                    if done[t] >> j & 1 or any(not done[t] >> i & 1 for i in before[t][j]):
                        continue
                    new = self.step(op, dict(memory), dict(regs), done, begun, threads)
                    if new is None:
                        # A lock that somebody has, or a grace period that is not over.
                        final = False
                        continue
                    final = False
                    values, registers, whether, since = new
                    after = dict(done)
                    if whether:
                        after[t] |= 1 << j
                    key = (tuple(sorted(values.items())), tuple(sorted(registers.items())),
                           tuple(after.items()), since)
                    if key not in seen:
                        seen.add(key)
                        todo.append((key, path + (f"{t}: operation {j}",)))
            if final and self.bad({r: regs.get(r) for r in self.registers(threads)}, memory):
                return len(seen), path
        return len(seen), None

    @staticmethod
    def registers(threads):
        return [op.load for ops in threads.values() for op in ops if op.load is not None]

    def step(self, op, memory, regs, done, begun, threads):
        if op.barrier == "sync":
            # It begins; it ends when no reader is left that had begun before.
            if begun is None:
                inside = tuple(r for r in self.readers
                               if done[r] and done[r] != (1 << len(threads[r])) - 1)
                return memory, regs, False, inside
            if any(done[r] != (1 << len(threads[r])) - 1 for r in begun):
                return None
            return memory, regs, True, begun
        if op.barrier:
            return memory, regs, True, begun
        if op.ctrl and op.stores and regs.get(op.ctrl[0]) != op.ctrl[1]:
            return memory, regs, True, begun
        old = memory[op.var]
        if op.wait is not None and old != op.wait:
            return None
        if op.load is not None:
            regs[op.load] = old
        if op.stores:
            memory[op.var] = op.store(old) if callable(op.store) else op.store
        return memory, regs, True, begun


def without(threads, thread, *numbers):
    """The threads without some operations of one of them."""
    new = dict(threads)
    new[thread] = [op for i, op in enumerate(threads[thread]) if i not in numbers]
    return new


def weaker(threads, thread, number):
    """The threads with an operation that neither acquires nor releases."""
    ops = list(threads[thread])
    op = ops[number]
    ops[number] = Op(op.var, op.load, op.store, False, False, op.addr, op.ctrl, op.barrier, op.wait)
    return {**threads, thread: ops}


def tests():
    # An event and the tail, Ring::push(); the tail and the event, Ring::pop().
    t = {"push": [write("event", 1), WMB, write("tail", 1)],
         "pop": [read("tail", "t"), RMB, read("event", "e")]}
    yield Litmus("ring: the event before the tail", t,
                 lambda r, m: r["t"] == 1 and r["e"] == 0,
                 {"no smp_wmb() in push()": without(t, "push", 1),
                  "no smp_rmb() in pop()": without(t, "pop", 1)})
    t = {"push": t["push"],
         "program": [read("tail", "t", acquire=True), read("event", "e")]}
    yield Litmus("ring: a program that loads the tail with acquire", t,
                 lambda r, m: r["t"] == 1 and r["e"] == 0,
                 {"no acquire in the program": weaker(t, "program", 0)})

    # A full ring: the place of the event is used again once the head has left it. Who
    # sees the head gives its slot back; who takes that slot writes the next event.
    full = {"tail": 1, "event": 1}
    t = {"pop": [read("tail", "t"), RMB, read("event", "e"), write("head", 1, release=True)],
         "push": [read("head", "h"), write("event", 2, ctrl=("h", 1))]}
    yield Litmus("ring: the event before the head, one producer", t,
                 lambda r, m: r["t"] == 1 and r["e"] == 2,
                 {"no release in pop()": weaker(t, "pop", 3)}, full)
    t = {"pop": t["pop"],
         "push": [read("head", "h"), write("slots", 1, ctrl=("h", 1))],
         "submit": [update("slots", lambda n: n, "s"), write("event", 2, ctrl=("s", 1))]}
    yield Litmus("ring: the event before the head, a slot that changes its CPU", t,
                 lambda r, m: r["t"] == 1 and r["e"] == 2,
                 {"no release in pop()": weaker(t, "pop", 3)}, full)

    # ThresholdQueue::wake() and prepare_to_wait_event(): nobody sleeps with an event there.
    t = {"wake": [write("tail", 1), MB, read("queued", "q")],
         "wait": [write("queued", 1), MB, read("tail", "t")]}
    yield Litmus("threshold: the tail and the queue", t,
                 lambda r, m: r["q"] == 0 and r["t"] == 0,
                 {"no smp_mb() in wake()": without(t, "wake", 1),
                  "no set_current_state() in prepare_to_wait_event()": without(t, "wait", 1)})

    # list_del_init_careful() as the last touch; finish_wait(), then the frame is others'.
    t = {"wake": [read("frame", "f"), write("links", 1, release=True)],
         "wait": [read("links", "l", acquire=True), write("frame", 1, ctrl=("l", 1))]}
    yield Litmus("threshold: the last touch of an entry", t,
                 lambda r, m: r["f"] == 1,
                 {"no release in list_del_init_careful()": weaker(t, "wake", 1)})
    t = {"wake": [write("frame", 2), write("links", 1, release=True)],
         "wait": [read("links", "l", acquire=True), read("frame", "f")]}
    yield Litmus("threshold: what the last touch has stored", t,
                 lambda r, m: r["l"] == 1 and r["f"] == 0,
                 {"no release in list_del_init_careful()": weaker(t, "wake", 1),
                  "no acquire in list_empty_careful()": weaker(t, "wait", 0)})

    # Context::kill() and wake_all(); prepare_to_wait_event() and is_dead().
    t = {"kill": [write("dead", 1), lock("lock"), read("queued", "q"), unlock("lock")],
         "wait": [lock("lock"), write("queued", 1), unlock("lock"), MB, read("dead", "d")]}
    yield Litmus("context: its end and who begins to wait", t,
                 lambda r, m: r["q"] == 0 and r["d"] == 0,
                 {"no lock in wake_all()": without(t, "kill", 1, 3),
                  "no barrier and no lock in the waiter": without(t, "wait", 0, 2, 3)})

    # POLLFREE: wake() touches the request for the last time, then the head is null;
    # LockedQueue::lock() sees that, and the request is completed and freed.
    t = {"wake": [read("request", "x"), write("head", 1, release=True)],
         "work": [read("head", "h", acquire=True), write("request", 1, ctrl=("h", 1))]}
    yield Litmus("poll: the last touch before the queue goes away", t,
                 lambda r, m: r["x"] == 1,
                 {"no release of the null head": weaker(t, "wake", 1)})
    t = {"wake": [write("cancelled", 1), write("head", 1, release=True)],
         "work": [read("head", "h", acquire=True), read("cancelled", "c")]}
    yield Litmus("poll: what was stored before the queue goes away", t,
                 lambda r, m: r["h"] == 1 and r["c"] == 0,
                 {"no release of the null head": weaker(t, "wake", 1),
                  "no acquire of the head": weaker(t, "work", 0)})

    # RcuTable::insert() and get().
    t = {"insert": [write("object", 1), write("entry", 1, release=True)],
         "get": [read("entry", "p"), read("object", "o", addr=("p",))]}
    nodep = {**t, "get": [read("entry", "p"), read("object", "o")]}
    yield Litmus("table: an entry before its object", t,
                 lambda r, m: r["p"] == 1 and r["o"] == 0,
                 {"no release in insert()": weaker(t, "insert", 1),
                  "no address dependency in get()": nodep})

    # SlabArc::into_unique(): two references, and what was done with each.
    def drop(reg, **kw):
        return update("refs", lambda n: n - 1, reg, release=True, **kw)
    t = {"one": [write("result", 1), drop("a")],
         "last": [drop("b"), Op(barrier="full"), read("result", "r")]}
    yield Litmus("reference count: the result", t,
                 lambda r, m: r["b"] == 1 and r["r"] == 0,
                 {"no release of the first reference": weaker(t, "one", 1),
                  "no acquire by the last one": without(t, "last", 1)}, {"refs": 2})
    t = {"one": [write("result", 1), drop("a")],
         "last": [read("refs", "b", acquire=True), read("result", "r")]}
    yield Litmus("reference count: a count of one", t,
                 lambda r, m: r["b"] == 1 and r["r"] == 0,
                 {"no release of the first reference": weaker(t, "one", 1),
                  "no acquire of the count": weaker(t, "last", 0)}, {"refs": 2})
    t = {"one": [read("object", "o"), drop("a")],
         "last": [read("refs", "b", acquire=True), write("object", 1, ctrl=("b", 1))]}
    yield Litmus("reference count: the object is used before it is freed", t,
                 lambda r, m: r["o"] == 1,
                 {"no release of the first reference": weaker(t, "one", 1)}, {"refs": 2})

    # StagedOwner::shutdown(): the count is killed, a grace period, the count is read.
    t = {"shutdown": [write("killed", 1), SYNC, read("users", "u")],
         "lookup": [read("killed", "k"), write("users", 1, ctrl=("k", 0))]}
    yield Litmus("staged: users after the grace period", t,
                 lambda r, m: r["k"] == 0 and r["u"] == 0 and m["users"] == 1,
                 {"no grace period": without(t, "shutdown", 1)}, readers=("lookup",))
    # The object is freed after another one.
    t = {"free": [write("entry", 1), SYNC, write("object", 1)],
         "lookup": [read("entry", "p"), read("object", "o", addr=("p",))]}
    yield Litmus("staged: readers before the object is freed", t,
                 lambda r, m: r["p"] == 0 and r["o"] == 1,
                 {"no grace period": without(t, "free", 1)}, readers=("lookup",))

    # CurrentMm::is_alone(), and mmput() of the thread that has gone.
    t = {"gone": [write("started", 1),
                  update("mm_users", lambda n: n - 1, "a", acquire=True, release=True)],
         "alone": [read("mm_users", "n", acquire=True), read("started", "s")]}
    yield Litmus("mm: what other threads have counted", t,
                 lambda r, m: r["n"] == 1 and r["s"] == 0,
                 {"no release in mmput()": weaker(t, "gone", 1),
                  "no acquire in is_alone()": weaker(t, "alone", 0)}, {"mm_users": 2})


def main():
    """Yields for each test its name, the number of states, the bad path or None, and
    whether there has to be one."""
    for test in tests():
        states, path = test.explore(test.threads)
        yield test.name, states, path, False
        for mistake, threads in test.mistakes.items():
            states, path = test.explore(threads)
            yield f"{test.name}: found: {mistake}", states, path, True
