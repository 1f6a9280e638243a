//! The asynchronous runtime that fits the machine.
//!
//! On one core a runtime of one thread saves the hand-over between threads, which is a good part of the cost of a
//! small request.

use std::io;
use std::num::NonZero;
use std::thread;

use tokio::runtime::{Builder, Runtime};

/// A runtime with one thread for each core that this process may use.
pub fn build() -> io::Result<Runtime> {
    // Where the number cannot be found out, one thread is right everywhere, if not fastest.
    of_cores(thread::available_parallelism().map_or(1, NonZero::get))
}

/// A runtime of this thread alone: for a program that waits most of its life, and is to be small.
pub fn build_single() -> io::Result<Runtime> {
    of_cores(1)
}

fn of_cores(cores: usize) -> io::Result<Runtime> {
    let mut builder = match cores {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(cores.max(1)).thread_name("worker").enable_all().build()
}

#[cfg(test)]
mod tests {
    use tokio::runtime::RuntimeFlavor;

    use super::*;

    fn flavor(cores: usize) -> RuntimeFlavor {
        of_cores(cores).unwrap().handle().runtime_flavor()
    }

    #[test]
    fn one_core_has_one_thread() {
        assert_eq!(flavor(1), RuntimeFlavor::CurrentThread);
    }

    #[test]
    fn several_cores_have_a_thread_each() {
        let runtime = of_cores(3).unwrap();

        assert_eq!(runtime.handle().runtime_flavor(), RuntimeFlavor::MultiThread);
        assert_eq!(runtime.metrics().num_workers(), 3);
    }
}
