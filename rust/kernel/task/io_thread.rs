// SPDX-License-Identifier: GPL-2.0

//! Threads of the current process that stay in the kernel.
//!
//! Such a thread shares all that the threads of the process do: the address space, the table of
//! file descriptors, the root and working directories, the limits. So it can do for the process
//! what no other thread of the kernel can. It counts as one of its threads, is stopped, frozen and
//! killed with it, and appears in `ps -T`.
//!
//! C header: [`include/linux/sched/task.h`](srctree/include/linux/sched/task.h)

use super::Task;
use crate::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::CStrExt,
    types::NotThreadSafe, //
};
use core::ffi::{
    c_int,
    c_void, //
};

/// The current task, which is such a thread.
///
/// # Examples
///
/// A thread that does one thing:
///
/// ```no_run
/// use kernel::task::IoThread;
///
/// IoThread::spawn(KBox::new(
///     |thread: &IoThread| {
///         thread.set_name(c"one-thing");
///         pr_info!("in the name of the process\n");
///         thread.work();
///     },
///     GFP_KERNEL,
/// )?)?;
/// # Ok::<(), Error>(())
/// ```
pub struct IoThread(NotThreadSafe);

impl IoThread {
    /// Creates a thread of the process of the current task, which must be a task of a process. It
    /// runs `f`, and ends.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there are too many threads, by any limit; `ERESTARTNOINTR` if a signal is
    /// pending, `EINTR` if the task was killed; `EINVAL` if the task has left the PID namespace of
    /// its children; `ENOMEM`.
    #[doc(alias = "create_io_thread")]
    pub fn spawn<F: FnOnce(&Self) + Send + 'static>(f: KBox<F>) -> Result {
        let arg = KBox::into_raw(f);
        // SAFETY: The function takes over the argument. The thread does not run before it is woken.
        let task = from_err_ptr(unsafe {
            bindings::create_io_thread(Some(Self::entry::<F>), arg.cast(), bindings::NUMA_NO_NODE)
        });

        match task {
            Ok(task) => {
                // SAFETY: The thread was just created, and was not woken.
                unsafe { bindings::wake_up_new_task(task) };
                Ok(())
            }
            Err(e) => {
                // SAFETY: There is no thread that would have taken it over.
                drop(unsafe { KBox::from_raw(arg) });
                Err(e)
            }
        }
    }

    /// The function of the thread.
    ///
    /// # Safety
    ///
    /// To be called by the thread that `spawn()` has created, with its argument.
    unsafe extern "C" fn entry<F: FnOnce(&Self) + Send + 'static>(arg: *mut c_void) -> c_int {
        {
            // SAFETY: The caller passes what `spawn()` has got from `into_raw()`, once.
            let f = KBox::into_inner(unsafe { KBox::<F>::from_raw(arg.cast()) });

            f(&Self(NotThreadSafe));
        }
        // There is nothing in user mode that such a thread could return to.
        //
        // SAFETY: The thread holds nothing any longer.
        unsafe { bindings::do_exit(0) }
    }

    /// Sets the name of the thread, of which 15 bytes are used.
    pub fn set_name(&self, name: &CStr) {
        // SAFETY: The current task is valid, and the string ends.
        unsafe { bindings::__set_task_comm(Task::current_raw(), name.as_char_ptr(), false) };
    }

    /// Sets the name of the thread to a word and the number of its process.
    pub fn set_name_of_process(&self, word: &str) {
        let pid = crate::current!().tgid();

        if let Ok(name) = crate::str::CString::try_from_fmt(fmt!("{word}-{pid}")) {
            self.set_name(&name);
        }
    }

    /// Sets the priority of the I/O that the thread does, such as that of another task.
    ///
    /// `ioprio` is a class and a level, as `IOPRIO_PRIO_VALUE()` puts them together. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of security modules.
    #[doc(alias = "set_task_ioprio")]
    pub fn set_ioprio(&self, ioprio: u16) -> Result {
        // SAFETY: May be called by any task.
        if unsafe { bindings::get_current_ioprio() } == ioprio.into() {
            return Ok(());
        }
        #[cfg(CONFIG_BLOCK)]
        {
            self.leave_shared_io_context();
            // SAFETY: The current task is valid.
            to_result(unsafe { bindings::set_task_ioprio(Task::current_raw(), ioprio.into()) })?;
        }
        Ok(())
    }

    /// A new thread shares the I/O context of the task that has created it, with the priority.
    #[cfg(CONFIG_BLOCK)]
    fn leave_shared_io_context(&self) {
        let task = Task::current_raw();

        // SAFETY: The current task is valid. It has a reference to its context, if there is one,
        // and only it changes the pointer then; the count is an atomic variable.
        let shared = unsafe {
            let context = (*task).io_context;

            !context.is_null() && bindings::atomic_read(&raw const (*context).active_ref) > 1
        };

        if shared {
            // SAFETY: The current task is valid, and has a context.
            unsafe { bindings::exit_io_context(task) };
        }
    }

    /// Takes part in what the signals of the process ask for: the thread stops, or is frozen.
    ///
    /// Returns whether it has to go: the process ends, or becomes another program. To be called
    /// before each wait, and after a wait that was interrupted. May sleep.
    #[doc(alias = "get_signal")]
    pub fn should_leave(&self) -> bool {
        // SAFETY: The current task is such a thread, and holds nothing that the function minds.
        crate::current!().signal_pending() && unsafe { bindings::io_thread_get_signal() }
    }

    /// Does what other tasks do when they return to user mode: files are closed, and the task is
    /// made to wait if its control group is over a limit.
    ///
    /// To be called after each operation, with no locks held. May sleep.
    #[doc(alias = "resume_user_mode_work")]
    pub fn work(&self) {
        work();
    }

    /// Hands on a signal that the thread has got for what it has done, `SIGPIPE` for one: to the
    /// task `to` of the same process, or to the process, if that task is gone.
    pub fn forward_signal(&self, signal: u32, to: &Task) {
        // SAFETY: The task is valid, and the current one has signals.
        unsafe { bindings::io_thread_forward_signal(signal as c_int, to.as_ptr()) };
    }
}

/// The same as [`IoThread::work()`], for code that may or may not run in such a thread: in others
/// nothing happens.
///
/// May sleep in such a thread only.
pub fn work() {
    // SAFETY: There are no requirements, but those on the context.
    unsafe { bindings::io_thread_work() };
}

/// Interrupts what a task waits for, if it can be, without a signal.
///
/// Meant for an [`IoThread`]: a system call of another task would be restarted. May be called in
/// any context.
#[doc(alias = "set_notify_signal")]
pub fn interrupt(task: &Task) {
    // SAFETY: The task is valid.
    unsafe { bindings::set_notify_signal(task.as_ptr()) };
}

/// Interrupts what such threads of the current process wait for.
///
/// May be called in any context in which the current task is one of a process.
pub fn interrupt_all() {
    // SAFETY: The current task is valid.
    unsafe { bindings::io_threads_interrupt() };
}

/// Which process, and which of its views of the system, a task has.
///
/// Two that are equal are the same as long as one of the tasks is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The thread group.
    pub group: usize,
    /// The table of file descriptors, the directories and the namespaces.
    pub view: [usize; 3],
}

impl Identity {
    /// Returns that of the current task.
    pub fn current() -> Self {
        let task = Task::current_raw();

        // SAFETY: The current task is valid, and nobody else changes these fields of it.
        let (signal, files, fs, nsproxy) =
            unsafe { ((*task).signal, (*task).files, (*task).fs, (*task).nsproxy) };

        Self {
            group: signal as usize,
            view: [files as usize, fs as usize, nsproxy as usize],
        }
    }
}

/// Returns whether the current task's process has no thread but such ones, and those that exit.
///
/// If so, there won't be another.
pub fn are_alone() -> bool {
    // SAFETY: The current task has signal handlers.
    unsafe { bindings::io_threads_alone() }
}
