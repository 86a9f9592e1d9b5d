//! What a record costs in allocations, once everything is warm: next to nothing, as records share
//! their batch. Its own program, as the allocator that counts is the whole program's.
//!
//! Only the thread that measures is counted. The client's tasks run on it, the brokers do not.

mod fake;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fake::FakeCluster;
use thalweg_client::consumer::{OffsetReset, StartAt};
use thalweg_client::protocol::batch::{BatchBuilder, BatchOptions};
use thalweg_client::{Client, Record};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is just ending has no count any more, and is not the one that measures.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the callee's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH_RECORDS: usize = 1000;
const PER_RECORD_MAX: f64 = 0.05;

/// Runs `work` on this thread, against brokers on another.
fn against_brokers<F: Future>(work: impl FnOnce(FakeCluster) -> F) -> F::Output {
    let mut elsewhere = tokio::runtime::Builder::new_multi_thread();
    let elsewhere = elsewhere.worker_threads(1).enable_all().build().unwrap();
    let cluster = elsewhere.block_on(FakeCluster::start(1));
    cluster.topic("t", 1);
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    here.block_on(work(cluster))
}

fn report(what: &str, allocations: u64, records: usize) {
    let each = allocations as f64 / records as f64;
    assert!(each < PER_RECORD_MAX, "{what}: {allocations} for {records} records, {each} each");
    assert!(allocations > 0, "{what}: the count is not in use");
}

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn producing_hardly_allocates() {
    against_brokers(async |cluster| {
        let client = Client::connect(&cluster.bootstrap()).await.unwrap();
        let value = [7u8; 100];
        // So that a batch is full with as many records as we count with.
        let batch_bytes = BATCH_RECORDS * (value.len() + 10);
        let producer = client.producer().batch_bytes(batch_bytes).build();
        let rounds = async |rounds: usize| {
            for _ in 0..rounds {
                let mut last = None;
                for _ in 0..BATCH_RECORDS {
                    last = Some(producer.enqueue(Record::to("t").value(&value)).await.unwrap());
                }
                last.unwrap().await.unwrap();
            }
        };
        rounds(5).await;
        let before = allocations();
        rounds(50).await;
        report("producing", allocations() - before, 50 * BATCH_RECORDS);
    });
}

/// Fills the topic with batches; gives how many records there are.
fn fill(cluster: &FakeCluster, batches: i64) -> usize {
    let mut state = cluster.state();
    let partition = state.partition("t", 0).unwrap();
    let mut builder = BatchBuilder::with_capacity(0);
    for _ in 0..BATCH_RECORDS {
        builder.append(0, Some(b"key"), Some(&[7; 100]), &[]).unwrap();
    }
    let batch = builder.finish(&BatchOptions::default()).unwrap();
    (0..batches).for_each(|number| partition.push(&batch, number * BATCH_RECORDS as i64));
    batches as usize * BATCH_RECORDS
}

#[test]
fn consuming_hardly_allocates() {
    against_brokers(async |cluster| {
        let records = fill(&cluster, 60);
        let client = Client::connect(&cluster.bootstrap()).await.unwrap();
        let consumer = client.consumer().topic("t", StartAt::Earliest);
        let mut consumer = consumer.build().await.unwrap();
        let warm = 10 * BATCH_RECORDS;
        for _ in 0..warm {
            consumer.next().await.unwrap().unwrap();
        }
        let before = allocations();
        for _ in warm..records {
            consumer.next().await.unwrap().unwrap();
        }
        report("consuming", allocations() - before, records - warm);
    });
}

#[test]
fn consuming_in_a_group_hardly_allocates() {
    against_brokers(async |cluster| {
        let records = fill(&cluster, 60);
        let client = Client::connect(&cluster.bootstrap()).await.unwrap();
        let group = client.consumer().group("g").subscribe(["t"]);
        let mut consumer = group.auto_offset_reset(OffsetReset::Earliest).build();
        let warm = 10 * BATCH_RECORDS;
        for _ in 0..warm {
            consumer.next().await.unwrap();
        }
        let before = allocations();
        for _ in warm..records {
            consumer.next().await.unwrap();
        }
        report("consuming", allocations() - before, records - warm);
    });
}
