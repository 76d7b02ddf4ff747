#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Every interleaving of the algorithms in AIO that work without a common lock.

    model.py [-v] [NAME...]

Each model is what one function of the kernel does, taken apart into steps that are
indivisible there. All orders of the steps of all threads are tried. In each state
that can be reached nothing may be used after it is gone, and where no thread can go
on, all must have come to their end.

Memory is weak in the models that name barriers: a store may become visible after
later ones, and a load may return what was there at any time since the last barrier
that keeps it from that. What is done under a lock is ordered by it. In these models a
store does not become visible before an earlier load; litmus.py, which this runs as well
("litmus"), tries that too, for each pair of barriers by itself.

Each model is also tried with mistakes in it, one at a time, each of which must be
found: a model that finds none checks nothing.
"""

import sys

import litmus

# ---------------------------------------------------------------- the machine


class Broken(Exception):
    pass


class State:
    """Shared and local variables by name. Copied before each step."""

    __slots__ = ("v", "pc", "hist", "view", "buf")

    def __init__(self, threads, variables, weak):
        self.v = dict(variables)
        self.pc = {t: "start" for t in threads}
        # Of each weak variable all values so far; what each thread may still read; what
        # it has written and others do not see.
        self.hist = {name: (value,) for name, value in weak.items()}
        self.view = {t: {name: 0 for name in weak} for t in threads}
        self.buf = {t: () for t in threads}

    def copy(self):
        new = State.__new__(State)
        new.v = dict(self.v)
        new.pc = dict(self.pc)
        new.hist = dict(self.hist)
        new.view = {t: dict(w) for t, w in self.view.items()}
        new.buf = dict(self.buf)
        return new

    def key(self):
        return (tuple(sorted(self.v.items())), tuple(sorted(self.pc.items())),
                tuple(sorted(self.hist.items())),
                tuple(sorted((t, tuple(sorted(w.items()))) for t, w in self.view.items())),
                tuple(sorted(self.buf.items())))

    # Weak memory, for thread @t.
    def store(self, t, name, value):
        self.buf[t] += ((name, value),)

    def loads(self, t, name):
        """All that a load may return, each with the state after it."""
        for entry in reversed(self.buf[t]):
            if entry and entry[0] == name:
                return [(entry[1], self)]
        found = []
        for i in range(self.view[t][name], len(self.hist[name])):
            new = self.copy()
            new.view[t][name] = i
            found.append((self.hist[name][i], new))
        return found

    def wmb(self, t):
        if self.buf[t]:
            self.buf[t] += (None,)

    def rmb(self, t):
        for name, values in self.hist.items():
            self.view[t][name] = len(values) - 1

    def flushed(self, t):
        return not any(self.buf[t])

    def flushes(self, t):
        """The states in which one more of its stores has become visible."""
        found, before = [], set()
        for i, entry in enumerate(self.buf[t]):
            if entry is None:
                if i == 0:
                    new = self.copy()
                    new.buf[t] = self.buf[t][1:]
                    found.append(new)
                break
            if entry[0] in before:
                continue
            before.add(entry[0])
            new = self.copy()
            name, value = entry
            new.hist[name] = new.hist[name] + (value,)
            new.view[t][name] = len(new.hist[name]) - 1
            new.buf[t] = self.buf[t][:i] + self.buf[t][i + 1:]
            found.append(new)
        return found


class Model:
    """Threads are tables of steps: label -> function(state, thread), which returns the
    states that may follow, [] if it has to wait. It sets the next label itself."""

    name = ""
    mistakes = {}

    def __init__(self, mistake=None):
        self.mistake = mistake

    def has(self, mistake):
        assert mistake in self.mistakes, mistake
        return self.mistake == mistake

    def initial(self):
        raise NotImplementedError

    def steps(self, thread):
        raise NotImplementedError

    def at_end(self, state):
        """All threads have ended, or wait where they may."""

    def may_wait(self, state, thread):
        return False

    def explore(self):
        first = self.initial()
        tables = {t: self.steps(t) for t in first.pc}
        todo, seen = [(first, None)], {first.key(): None}
        while todo:
            state, _ = todo.pop()
            successors = []
            try:
                for t, pc in state.pc.items():
                    if pc != "end":
                        for new in tables[t][pc](state.copy(), t):
                            successors.append((t + ": " + pc, new))
                    for new in state.flushes(t):
                        successors.append((t + ": store visible", new))
                if not successors:
                    for t, pc in state.pc.items():
                        if pc != "end" and not self.may_wait(state, t):
                            raise Broken(f"{t} waits for ever at '{pc}'")
                    self.at_end(state)
            except Broken as e:
                return len(seen), str(e), self.trace(seen, state)
            for step, new in successors:
                key = new.key()
                if key not in seen:
                    seen[key] = (state.key(), step)
                    todo.append((new, step))
        return len(seen), None, []

    @staticmethod
    def trace(seen, state):
        steps, key = [], state.key()
        while seen.get(key):
            key, step = seen[key]
            steps.append(step)
        return steps[::-1]


def goto(state, t, label):
    state.pc[t] = label
    return [state]


def locked(state, t, name, label):
    """Takes a lock, or waits for it."""
    if state.v[name] is not None:
        return []
    state.v[name] = t
    state.rmb(t)
    return goto(state, t, label)


def unlocked(state, t, name, label):
    assert state.v[name] == t
    if not state.flushed(t):
        return []
    state.v[name] = None
    return goto(state, t, label)


# ---------------------------------------------------------------- the ring

class Ring(Model):
    """Ring::push() and a reader: Ring::pop(), or a program that reads the ring itself."""

    name = "ring"
    mistakes = {
        "no smp_wmb() between the event and the tail": 1,
        "no smp_rmb() between the tail and the event": 1,
        "the tail before the event": 1,
    }
    ROUNDS = 2

    def initial(self):
        weak = {"tail": 0, "head": 0}
        weak.update({f"event{i}": 0 for i in range(self.ROUNDS)})
        return State(["producer", "reader"], {"n": 0, "head": 0, "tail": 0}, weak)

    def steps(self, thread):
        return self.producer() if thread == "producer" else self.reader()

    def producer(self):
        def event(s, t):
            n = s.v["n"]
            if n == self.ROUNDS:
                return goto(s, t, "end")
            if self.has("the tail before the event"):
                s.store(t, "tail", n + 1)
                s.wmb(t)
                s.store(t, f"event{n}", 100 + n)
                s.v["n"] = n + 1
                return goto(s, t, "start")
            s.store(t, f"event{n}", 100 + n)
            return goto(s, t, "barrier")

        def barrier(s, t):
            if not self.has("no smp_wmb() between the event and the tail"):
                s.wmb(t)
            return goto(s, t, "tail")

        def tail(s, t):
            s.v["n"] += 1
            s.store(t, "tail", s.v["n"])
            return goto(s, t, "start")

        return {"start": event, "barrier": barrier, "tail": tail}

    def reader(self):
        def tail(s, t):
            found = []
            for value, new in s.loads(t, "tail"):
                new = new.copy()
                new.v["tail"] = value
                found += goto(new, t, "barrier" if value > new.v["head"] else "again")
            return found

        def again(s, t):
            # Time passes; a load is not done early for ever.
            s.rmb(t)
            return goto(s, t, "start")

        def barrier(s, t):
            if not self.has("no smp_rmb() between the tail and the event"):
                s.rmb(t)
            return goto(s, t, "event")

        def event(s, t):
            found = []
            head = s.v["head"]
            for value, new in s.loads(t, f"event{head}"):
                if value != 100 + head:
                    raise Broken(f"event {head} is read before it was written")
                new = new.copy()
                new.v["head"] = head + 1
                if head + 1 == self.ROUNDS:
                    new.pc[t] = "end"
                else:
                    new.pc[t] = "event" if head + 1 < new.v["tail"] else "start"
                found.append(new)
            return found

        return {"start": tail, "again": again, "barrier": barrier, "event": event}


# ---------------------------------------------------------------- readers and wakers

class Threshold(Model):
    """ThresholdQueue::wait() and wake(): nobody sleeps although there is enough, and
    nobody is touched after he has left."""

    name = "threshold"
    mistakes = {
        "no smp_mb() before the look at the queue": 1,
        "no barrier in set_current_state()": 1,
        "the entry is removed before its task is woken": 1,
        "the queue is looked at before the tail is stored": 1,
        "asleep without another look": 1,
    }
    NEED = {"reader1": 1, "reader2": 2}
    EVENTS = 2

    def initial(self):
        v = {"lock": None, "made": 0}
        for r in self.NEED:
            v.update({f"linked {r}": False, f"alive {r}": True, f"woken {r}": None})
        weak = {"tail": 0, "active": 0}
        weak.update({f"asleep {r}": 0 for r in self.NEED})
        return State(["waker"] + list(self.NEED), v, weak)

    def steps(self, thread):
        return self.waker() if thread == "waker" else self.reader()

    def active(self, s):
        return int(any(s.v[f"linked {r}"] for r in self.NEED))

    def waker(self):
        early = self.has("the queue is looked at before the tail is stored")

        def tail(s, t):
            if s.v["made"] == self.EVENTS:
                return goto(s, t, "end")
            if early:
                return goto(s, t, "look")
            s.v["made"] += 1
            s.store(t, "tail", s.v["made"])
            return goto(s, t, "barrier")

        def barrier(s, t):
            if not self.has("no smp_mb() before the look at the queue"):
                if not s.flushed(t):
                    return []
                s.rmb(t)
            return goto(s, t, "look")

        def look(s, t):
            found = []
            for value, new in s.loads(t, "active"):
                new = new.copy()
                if early:
                    new.v["made"] += 1
                    new.store(t, "tail", new.v["made"])
                found += goto(new, t, "lock" if value else "start")
            return found

        def lock(s, t):
            return locked(s, t, "lock", "wake1 reader1")

        def wake(reader, following):
            def remove(s):
                s.v[f"linked {reader}"] = False
                s.store("waker", "active", self.active(s))

            def touch(s):
                if not s.v[f"alive {reader}"]:
                    raise Broken(f"{reader} is touched after it has left")

            def first(s, t):
                if not s.v[f"linked {reader}"]:
                    return goto(s, t, following)
                touch(s)
                if s.v["made"] < self.NEED[reader]:
                    return goto(s, t, following)
                if self.has("the entry is removed before its task is woken"):
                    remove(s)
                else:
                    s.store(t, f"asleep {reader}", 0)
                return goto(s, t, f"wake2 {reader}")

            def second(s, t):
                touch(s)
                if self.has("the entry is removed before its task is woken"):
                    s.store(t, f"asleep {reader}", 0)
                else:
                    # list_del_init_careful(): a release.
                    if not s.flushed(t):
                        return []
                    remove(s)
                return goto(s, t, following)

            return first, second

        first1, second1 = wake("reader1", "wake1 reader2")
        first2, second2 = wake("reader2", "unlock")

        def unlock(s, t):
            return unlocked(s, t, "lock", "start")

        return {"start": tail, "barrier": barrier, "look": look, "lock": lock,
                "wake1 reader1": first1, "wake2 reader1": second1,
                "wake1 reader2": first2, "wake2 reader2": second2, "unlock": unlock}

    def reader(self):
        def enough(s, t, then, otherwise):
            found = []
            for value, new in s.loads(t, "tail"):
                found += goto(new.copy(), t, then if value >= self.NEED[t] else otherwise)
            return found

        def start(s, t):
            return enough(s, t, "gone", "lock")

        def lock(s, t):
            return locked(s, t, "lock", "queue")

        def queue(s, t):
            s.v[f"linked {t}"] = True
            s.store(t, "active", 1)
            s.store(t, f"asleep {t}", 1)
            return goto(s, t, "state")

        def state(s, t):
            if not self.has("no barrier in set_current_state()"):
                if not s.flushed(t):
                    return []
                s.rmb(t)
                return goto(s, t, "unlock")
            # The lock is then what it is on most processors: later loads may be done before
            # it is released, and earlier stores seen after those.
            if s.v["lock"] == t:
                s.v["lock"] = None
            return goto(s, t, "look")

        def unlock(s, t):
            return unlocked(s, t, "lock", "look")

        def look(s, t):
            if self.has("asleep without another look"):
                return goto(s, t, "sleep")
            return enough(s, t, "awake", "sleep")

        def sleep(s, t):
            # schedule(): returns at once if somebody has woken the task.
            if not s.flushed(t) or s.hist[f"asleep {t}"][-1]:
                return []
            s.rmb(t)
            return goto(s, t, "lock")

        def awake(s, t):
            s.store(t, f"asleep {t}", 0)
            # finish_wait(): takes the lock, unless it sees the entry removed.
            return goto(s, t, "lock2" if s.v[f"linked {t}"] else "gone")

        def lock2(s, t):
            return locked(s, t, "lock", "remove")

        def remove(s, t):
            s.v[f"linked {t}"] = False
            s.store(t, "active", self.active(s))
            return goto(s, t, "unlock2")

        def unlock2(s, t):
            return unlocked(s, t, "lock", "gone")

        def gone(s, t):
            s.v[f"alive {t}"] = False
            return goto(s, t, "end")

        return {"start": start, "lock": lock, "queue": queue, "state": state, "unlock": unlock,
                "look": look, "sleep": sleep, "awake": awake, "lock2": lock2,
                "remove": remove, "unlock2": unlock2, "gone": gone}


# ---------------------------------------------------------------- polls

class Poll(Model):
    """AsyncPoll: start(), wake(), work() and cancel() of one request.

    The request ends exactly once if its file gets ready, it is cancelled or the wait
    queue goes away; neither it nor the queue is used after it is gone.
    """

    name = "poll"
    mistakes = {
        "the entry is removed by the first wake-up": 1,
        "no note of a wake-up while the work item runs": 1,
        "the wake-up waits for the list": 1,
        "the waker does not look whether work is scheduled": 1,
        "cancelling does not look whether work is scheduled": 1,
        "the submitter does not look whether work is scheduled": 1,
        "the null head before the entry is removed": 1,
        "POLLFREE is ignored": 1,
        "who completes at once leaves the head": 1,
        "the work item leaves the head": 1,
        "the submitter keeps no reference": 1,
        "the work item completes without the list's lock": 1,
    }

    # What wakes the queue: a key that says "ready", one without a key when the file is
    # ready, one without a key for nothing, the end of the queue.
    def __init__(self, mistake=None, wakers=("ready",), canceller=True, ready_at_start=False):
        super().__init__(mistake)
        self.wakers = wakers
        self.canceller = canceller
        self.ready_at_start = ready_at_start

    def initial(self):
        threads = ["submitter", "worker"] + [f"waker{i}" for i in range(len(self.wakers))]
        if self.canceller:
            threads.append("canceller")
        v = {
            "ready": self.ready_at_start, "refs": 2, "done": 0, "failed": False,
            "head": False, "handed out": False, "queued": False, "in list": False, "queue lock": None,
            "list lock": None, "scheduled": False, "again": False, "cancelled": False,
            "pending": False, "queue gone": False, "queue freed": False, "rcu": 0,
            "mask": False, "mask work": False, "has queue": False, "has queue work": False,
            "has queue cancel": False, "cancel called": False,
        }
        return State(threads, v, {})

    # All that is done with the request, and with the queue.
    @staticmethod
    def use(s):
        if s.v["refs"] <= 0:
            raise Broken("the request is used after it was freed")

    @staticmethod
    def use_queue(s):
        if s.v["queue freed"]:
            raise Broken("the wait queue is used after it was freed")

    @staticmethod
    def put(s):
        s.v["refs"] -= 1
        if s.v["refs"] < 0:
            raise Broken("a reference too many is put")
        if not s.v["refs"] and (s.v["queued"] or s.v["in list"] or s.v["pending"]):
            raise Broken("the request is freed while it is in a list, a queue or work")

    def complete(self, s):
        s.v["done"] += 1
        if s.v["done"] > 1:
            raise Broken("the request is completed twice")
        self.put(s)

    def schedule(self, s):
        self.use(s)
        s.v["pending"] = True

    # LockedQueue::lock(): two steps, the look at the head and the lock.
    def lock_queue(self, result, following):
        def look(s, t):
            self.use(s)
            if not s.v["head"]:
                s.v[result] = False
                return goto(s, t, following)
            s.v["rcu"] += 1
            return goto(s, t, f"{result}: lock")

        def lock(s, t):
            self.use_queue(s)
            if s.v["queue lock"] is not None:
                return []
            s.v["queue lock"] = t
            return goto(s, t, f"{result}: entry")

        def entry(s, t):
            self.use(s)
            if s.v["queued"]:
                s.v[result] = True
            else:
                s.v[result] = False
                s.v["queue lock"] = None
                s.v["rcu"] -= 1
            return goto(s, t, following)

        return {f"{result}: look": look, f"{result}: lock": lock, f"{result}: entry": entry}

    def unlock_queue(self, s, result):
        if s.v[result]:
            self.use_queue(s)
            s.v["queue lock"] = None
            s.v["rcu"] -= 1
            s.v[result] = False

    def steps(self, thread):
        if thread == "submitter":
            return self.submitter()
        if thread == "worker":
            return self.worker()
        if thread == "canceller":
            return self.cancel()
        return self.waker(self.wakers[int(thread[5:])])

    def submitter(self):
        def head(s, t):
            s.v["head"] = True
            return goto(s, t, "add")

        def add(s, t):
            if s.v["queue lock"] is not None:
                return []
            if s.v["queue gone"]:
                # The file has no queue any longer: it hands out none.
                s.v["head"] = False
                return goto(s, t, "mask")
            s.v["handed out"] = True
            s.v["queued"] = True
            return goto(s, t, "mask")

        def mask(s, t):
            self.use(s)
            s.v["mask"] = s.v["ready"]
            return goto(s, t, "list")

        def list_lock(s, t):
            return locked(s, t, "list lock", "has queue: look")

        def decide(s, t):
            self.use(s)
            has = s.v["has queue"]
            gone = not s.v["handed out"]
            looks = not self.has("the submitter does not look whether work is scheduled")
            if gone:
                s.v["failed"] = True
            elif not has or (looks and s.v["scheduled"]):
                s.v["mask"] = False
            if s.v["mask"]:
                if has:
                    s.v["queued"] = False
                    s.v["head"] = False
            elif has and not gone:
                s.v["in list"] = True
            self.unlock_queue(s, "has queue")
            s.v["list lock"] = None
            return goto(s, t, "finish")

        def finish(s, t):
            if s.v["failed"]:
                self.put(s)
            elif s.v["mask"]:
                self.complete(s)
            return goto(s, t, "put")

        def put(s, t):
            if not self.has("the submitter keeps no reference"):
                self.put(s)
            return goto(s, t, "end")

        def start(s, t):
            if self.has("the submitter keeps no reference"):
                s.v["refs"] -= 1
            return goto(s, t, "head")

        return {"start": start, "head": head, "add": add, "mask": mask, "list": list_lock,
                **self.lock_queue("has queue", "decide"),
                "decide": decide, "finish": finish, "put": put}

    def waker(self, kind):
        key = kind in ("ready", "free")

        def start(s, t):
            if kind in ("ready", "plain"):
                s.v["ready"] = True
            return goto(s, t, "lock")

        def lock(s, t):
            self.use_queue(s)
            if s.v["queue lock"] is not None:
                return []
            s.v["queue lock"] = t
            if not s.v["queued"]:
                if kind == "free":
                    s.v["queue gone"] = True
                return goto(s, t, "unlock")
            return goto(s, t, "called")

        def called(s, t):
            self.use(s)
            looks = not self.has("the waker does not look whether work is scheduled")
            if key and not (looks and s.v["scheduled"]):
                if s.v["list lock"] is None:
                    s.v["list lock"] = t
                    return goto(s, t, "inline")
                if self.has("the wake-up waits for the list"):
                    return []
            return goto(s, t, "later")

        def inline(s, t):
            self.use(s)
            s.v["queued"] = False
            s.v["in list"] = False
            if not self.has("who completes at once leaves the head"):
                s.v["head"] = False
            s.v["list lock"] = None
            if kind == "free":
                s.v["queue gone"] = True
            return goto(s, t, "complete")

        def complete(s, t):
            self.complete(s)
            return goto(s, t, "unlock")

        def later(s, t):
            self.use(s)
            if s.v["scheduled"]:
                if not self.has("no note of a wake-up while the work item runs"):
                    s.v["again"] = True
            else:
                s.v["scheduled"] = True
                self.schedule(s)
            if self.has("the entry is removed by the first wake-up"):
                s.v["queued"] = False
            if kind == "free":
                s.v["queue gone"] = True
                if not self.has("POLLFREE is ignored"):
                    return goto(s, t, "free1")
            return goto(s, t, "unlock")

        def free1(s, t):
            self.use(s)
            s.v["cancelled"] = True
            if self.has("the null head before the entry is removed"):
                s.v["head"] = False
            else:
                s.v["queued"] = False
            return goto(s, t, "free2")

        def free2(s, t):
            self.use(s)
            if self.has("the null head before the entry is removed"):
                s.v["queued"] = False
            else:
                s.v["head"] = False
            return goto(s, t, "unlock")

        def unlock(s, t):
            self.use_queue(s)
            s.v["queue lock"] = None
            return goto(s, t, "free" if kind == "free" else "end")

        def free(s, t):
            # After a grace period, and not while the submitter is in the file's ->poll().
            if s.v["rcu"] or s.pc["submitter"] in ("start", "head", "add", "mask"):
                return []
            if any(w != t and s.pc[w] not in ("end",) for w in s.pc if w.startswith("waker")):
                return []
            s.v["queue freed"] = True
            return goto(s, t, "end")

        return {"start": start, "lock": lock, "called": called, "inline": inline,
                "complete": complete, "later": later, "free1": free1, "free2": free2,
                "unlock": unlock, "free": free}

    def worker(self):
        def start(s, t):
            if not s.v["pending"]:
                return []
            s.v["pending"] = False
            return goto(s, t, "mask")

        def mask(s, t):
            self.use(s)
            s.v["mask work"] = not s.v["cancelled"] and s.v["ready"]
            if self.has("the work item completes without the list's lock"):
                return goto(s, t, "has queue work: look")
            return goto(s, t, "list")

        def list_lock(s, t):
            return locked(s, t, "list lock", "has queue work: look")

        def decide(s, t):
            self.use(s)
            if s.v["has queue work"]:
                if not s.v["mask work"] and not s.v["cancelled"]:
                    if s.v["again"]:
                        s.v["again"] = False
                        self.schedule(s)
                    else:
                        s.v["scheduled"] = False
                    self.unlock_queue(s, "has queue work")
                    if s.v["list lock"] == t:
                        s.v["list lock"] = None
                    return goto(s, t, "start")
                s.v["queued"] = False
                if not self.has("the work item leaves the head"):
                    s.v["head"] = False
            self.unlock_queue(s, "has queue work")
            s.v["in list"] = False
            if s.v["list lock"] == t:
                s.v["list lock"] = None
            return goto(s, t, "complete")

        def complete(s, t):
            self.complete(s)
            return goto(s, t, "start")

        return {"start": start, "mask": mask, "list": list_lock,
                **self.lock_queue("has queue work", "decide"),
                "decide": decide, "complete": complete}

    def cancel(self):
        def start(s, t):
            return locked(s, t, "list lock", "find")

        def find(s, t):
            if not s.v["in list"]:
                s.v["list lock"] = None
                return goto(s, t, "end")
            s.v["cancel called"] = True
            return goto(s, t, "has queue cancel: look")

        def decide(s, t):
            if s.v["has queue cancel"]:
                self.use(s)
                s.v["cancelled"] = True
                looks = not self.has("cancelling does not look whether work is scheduled")
                if not (looks and s.v["scheduled"]):
                    if s.v["scheduled"] and s.v["pending"]:
                        pass  # queue_work() of what is queued does nothing
                    s.v["scheduled"] = True
                    self.schedule(s)
                self.unlock_queue(s, "has queue cancel")
            s.v["list lock"] = None
            return goto(s, t, "end")

        return {"start": start, "find": find, **self.lock_queue("has queue cancel", "decide"),
                "decide": decide}

    def may_wait(self, state, thread):
        return thread == "worker" and state.pc[thread] == "start"

    def at_end(self, s):
        if s.v["failed"]:
            wanted = 0
        elif s.v["ready"] or s.v["cancel called"] or s.v["queue gone"]:
            wanted = 1
        else:
            wanted = 0
        if s.v["done"] != wanted:
            raise Broken(f"completed {s.v['done']} times, expected {wanted}")
        refs = 0 if wanted or s.v["failed"] else 1
        if s.v["refs"] != refs:
            raise Broken(f"{s.v['refs']} references are left, expected {refs}")
        if not wanted and not s.v["failed"] and not s.v["queued"]:
            raise Broken("nothing can wake the request any longer")


# ---------------------------------------------------------------- threads that are woken

class Wakes(Model):
    """The threads of a pool, in fs/aio/workers/thread.rs, and who adds operations: each of
    those ends only when all have begun, so all must be found. Other threads there are
    enough of; one that has waited long enough may leave."""

    name = "wakes"
    mistakes = {
        "who takes one of several wakes nobody": 1,
        "who no longer waits is still on its way": 1,
        "who finds nothing is still on its way": 1,
        "no look between the queue and sleep": 1,
    }
    THREADS = ("thread1", "thread2", "thread3")
    ADDS = {"submitter1": 1, "submitter2": 1}

    def initial(self):
        v = {"work": 0, "idle": 0, "waking": False, "queue": (), "begun": 0, "ended": 0}
        v["left"] = False
        for t in self.THREADS:
            v.update({f"running {t}": True, f"over {t}": False, f"patient {t}": t == "thread1"})
        v.update({f"left {t}": n for t, n in self.ADDS.items()})
        return State(self.THREADS + tuple(self.ADDS), v, {})

    def wake_one(self, s):
        if s.v["queue"]:
            t, *rest = s.v["queue"]
            s.v["queue"] = tuple(rest)
            s.v[f"running {t}"] = True

    def wake(self, s):
        if s.v["idle"] and not s.v["waking"]:
            s.v["waking"] = True
            self.wake_one(s)

    def steps(self, thread):
        return self.submitter() if thread in self.ADDS else self.worker()

    def submitter(self):
        def start(s, t):
            if not s.v[f"left {t}"]:
                return goto(s, t, "end")
            s.v[f"left {t}"] -= 1
            s.v["work"] += 1
            self.wake(s)
            return goto(s, t, "start")

        return {"start": start}

    def worker(self):
        def came(s):
            s.v["idle"] -= 1
            if not self.has("who no longer waits is still on its way"):
                s.v["waking"] = False

        def look(s, t, over=False):
            if s.v["work"]:
                s.v["work"] -= 1
                s.v["begun"] += 1
                if s.v["work"] and not self.has("who takes one of several wakes nobody"):
                    self.wake(s)
                return goto(s, t, "run")
            # If there were fewer than operations, they would make another.
            if over and s.v["idle"] and not s.v["left"]:
                s.v["left"] = True
                return goto(s, t, "end")
            s.v["idle"] += 1
            return goto(s, t, "prepare")

        def start(s, t):
            return look(s, t)

        def run(s, t):
            if s.v["begun"] < sum(self.ADDS.values()):
                return []
            s.v["ended"] += 1
            return goto(s, t, "start")

        def prepare(s, t):
            if t not in s.v["queue"]:
                s.v["queue"] += (t,)
            s.v[f"running {t}"] = False
            if self.has("no look between the queue and sleep"):
                return goto(s, t, "sleep")
            return goto(s, t, "ready")

        def ready(s, t):
            if s.v["work"]:
                return goto(s, t, "finish")
            if not self.has("who finds nothing is still on its way"):
                s.v["waking"] = False
            return goto(s, t, "finish" if s.v[f"over {t}"] else "sleep")

        def sleep(s, t):
            found = []
            if s.v[f"running {t}"]:
                found += goto(s.copy(), t, "prepare")
            elif s.v[f"patient {t}"]:
                # It is woken by nobody. Once, and one thread, is enough.
                new = s.copy()
                new.v.update({f"running {t}": True, f"over {t}": True, f"patient {t}": False})
                found += goto(new, t, "prepare")
            return found

        def finish(s, t):
            s.v["queue"] = tuple(x for x in s.v["queue"] if x != t)
            over, s.v[f"over {t}"] = s.v[f"over {t}"], False
            s.v[f"running {t}"] = True
            came(s)
            return look(s, t, over)

        return {"start": start, "run": run, "prepare": prepare, "ready": ready,
                "sleep": sleep, "finish": finish}

    def may_wait(self, state, thread):
        return state.pc[thread] == "sleep" and state.v["ended"] == sum(self.ADDS.values())


def variants():
    yield "ring", lambda m: [Ring(m)], Ring.mistakes
    yield "threshold", lambda m: [Threshold(m)], Threshold.mistakes
    yield "wakes", lambda m: [Wakes(m)], Wakes.mistakes
    scenes = []
    for wakers in (("ready",), ("plain",), ("spurious",), ("free",), ("ready", "ready"),
                   ("ready", "plain"), ("plain", "plain"), ("spurious", "ready"),
                   ("spurious", "plain"), ("spurious", "spurious"), ("ready", "free"),
                   ("plain", "free"), ("spurious", "free"), ("spurious", "spurious", "plain")):
        for canceller in (False, True):
            for ready in (False, True):
                if len(wakers) < 3 or not (canceller or ready):
                    scenes.append((wakers, canceller, ready))
    yield "poll", lambda m: [Poll(m, *scene) for scene in scenes], Poll.mistakes


def run(models):
    states = 0
    for model in models:
        n, error, trace = model.explore()
        states += n
        if error:
            return states, error, trace, model
    return states, None, [], None


def main():
    verbose = "-v" in sys.argv[1:]
    chosen = [a for a in sys.argv[1:] if a != "-v"]
    tests = [v for v in variants() if not chosen or v[0] in chosen]
    pairs = list(litmus.main()) if not chosen or "litmus" in chosen else []
    print("TAP version 13")
    print(f"1..{sum(1 + len(mistakes) for _, _, mistakes in tests) + len(pairs)}")
    number = failed = 0
    if pairs:
        print(f"# litmus: {sum(states for _, states, _, _ in pairs)} states in {len(pairs)} scenes")
    for name, _, path, wanted in pairs:
        number += 1
        good = (path is not None) == wanted
        failed += not good
        if path and (verbose or not good):
            for step in path:
                print(f"#   {step}")
        print(f"{'' if good else 'not '}ok {number} {name}")
    for name, make, mistakes in tests:
        number += 1
        states, error, trace, model = run(make(None))
        print(f"# {name}: {states} states in {len(make(None))} scenes")
        if error:
            failed += 1
            print(f"# {error}" + (f" ({model.wakers}, canceller {model.canceller}, "
                                  f"ready {model.ready_at_start})" if name == "poll" else ""))
            for step in trace:
                print(f"#   {step}")
        print(f"{'not ' if error else ''}ok {number} {name}")
        for mistake in mistakes:
            number += 1
            states, error, trace, _ = run(make(mistake))
            if not error:
                failed += 1
            elif verbose:
                print(f"# {error}")
                for step in trace:
                    print(f"#   {step}")
            print(f"{'' if error else 'not '}ok {number} {name}: found: {mistake}"
                  f" ({error or 'no'})")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
