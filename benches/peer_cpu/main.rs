//! What a value from the peer that owns it costs, beside Redis.
//!
//! `cargo bench -p benches --bench peer_cpu` prints two tables: CPU time of both processes in
//! microseconds a get, and how long a small value takes beside large ones. Owners are processes of
//! their own; the Redis server is Debian's `redis-server`, started here, and left out where it is
//! missing. The contenders take turns, round by round, so that what else the machine does hits all
//! of them; the tables show medians.
//!
//! `-- --rounds N` sets the number of rounds, `-- --waits` prints the second table alone,
//! `-- --syscalls` counts system calls instead, by `strace`. Linux only: the time is read from
//! `/proc`.

mod cpu;
mod owner;
#[path = "../peers/mod.rs"]
mod peers;
mod syscalls;
mod tail;

use anyhow::{Context, Result, bail};
use tokio::runtime::{Builder, Runtime};

const ROUNDS: usize = 5;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |text: &str| text.parse::<usize>().context("a number is expected");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(ROUNDS),
        ["--waits"] => Runtime::new()?.block_on(tail::compare(ROUNDS)),
        ["--rounds", rounds] => compare(number(rounds)?),
        ["--syscalls"] => syscalls::count(),
        // What this program runs of itself.
        ["row", row, rounds] => Runtime::new()?.block_on(cpu::row(number(row)?, number(rounds)?)),
        [owner::OWN, name, bytes] => Runtime::new()?.block_on(owner::own(name, number(bytes)?)),
        [owner::OWN_IN_ONE_THREAD, name, bytes] => {
            one_thread()?.block_on(owner::own(name, number(bytes)?))
        }
        ["ask", address] => one_thread()?.block_on(syscalls::ask(address)),
        _ => bail!("the options are --rounds N, --waits and --syscalls"),
    }
}

fn one_thread() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn compare(rounds: usize) -> Result<()> {
    Runtime::new()?.block_on(async {
        cpu::compare(rounds).await?;
        tail::compare(rounds).await
    })
}
