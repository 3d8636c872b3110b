//! Adapters of a registry at FLAN-T5-base's size with random weights: to activate one in memory, and one that has to be read
//! again. `cargo bench -p tallow-peft --bench registry` writes 1 GB to the folder of temporary files.

mod geometry;

use criterion::{Criterion, criterion_group, criterion_main};
use tallow_peft::Registry;

use self::geometry::{BASE, lora, model};

fn registry(criterion: &mut Criterion) {
    let (folder, base) = model(&BASE);
    let adapters = [0, 1].map(|seed| {
        let path = folder.path().join(format!("adapter{seed}"));
        let adapted = lora(&base, seed);
        adapted.save(&path, folder.path(), None).expect("it can be written");
        (path, 4 * adapted.parameters.trainable())
    });
    let with_room = |adapters_in_memory: usize| {
        let registry = Registry::new(base.clone(), adapters_in_memory * adapters[0].1);
        for (i, (path, _)) in adapters.iter().enumerate() {
            registry.load(&i.to_string(), path).expect("it is an adapter of the model");
        }
        registry
    };
    for (name, registry) in [("activate", with_room(2)), ("activate what has to be read", with_room(1))] {
        let mut turn = 0;
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                turn += 1;
                registry.activate(["0", "1"][turn % 2]).expect("it is loaded")
            });
        });
    }
}

criterion_group!(benches, registry);
criterion_main!(benches);
