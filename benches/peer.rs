//! A value cached on the peer that owns it, over the loopback interface: time a get.
//!
//! Owner and asker share the runtime here. `peer_cpu` measures the CPU time of two processes.

#[expect(dead_code, reason = "some of it is for `peer_cpu` alone")]
mod peers;

use anyhow::Result;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peers::{Asker, Contender};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Size of the values, and gets at a time.
const WORKLOADS: [(usize, usize); 4] = [(100, 1), (100, 64), (64 << 10, 1), (64 << 10, 64)];

/// Those whose owner can run in this process.
const CONTENDERS: [Contender; 3] = [Contender::Carrotcache, Contender::Http, Contender::Groupcache];

fn peer(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for (value_bytes, at_a_time) in WORKLOADS {
        let scenario = format!("peer/{value_bytes} B/{at_a_time} at a time");
        let mut group = criterion.benchmark_group(scenario);
        group.throughput(Throughput::Elements(at_a_time as u64));
        for contender in CONTENDERS {
            let asker = runtime.block_on(start(contender, value_bytes)).expect("an owner");
            group.bench_function(contender.name(), |bencher| {
                bencher.to_async(&runtime).iter(|| asker.get_many(at_a_time, at_a_time));
            });
        }
        group.finish();
    }
}

/// Starts an owner in this process, and returns who asks it.
async fn start(contender: Contender, value_bytes: usize) -> Result<Asker> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(peers::own(contender, listener, value_bytes));
    Asker::new(contender, address, value_bytes).await
}

criterion_group!(benches, peer);
criterion_main!(benches);
