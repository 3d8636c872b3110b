use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tallow_ops::{Cpu, Tape};
use tallow_peft::{AdapterFile, Registry, attach};
use tallow_t5::{GenerationOptions, T5, generate};

use crate::mixed::golden;
use crate::support::{logits, message, model};

fn alone(kind: &str) -> Vec<Vec<f32>> {
    logits(&attach(model(), &AdapterFile::open(&golden(kind)).unwrap()).unwrap())
}

fn bytes(kind: &str) -> usize {
    4 * AdapterFile::open(&golden(kind)).unwrap().parameters()
}

fn in_memory(registry: &Registry) -> Vec<String> {
    registry.names().into_iter().filter(|(_, loaded)| *loaded).map(|(name, _)| name).collect()
}

#[test]
fn names_stand_for_adapters_until_they_are_unloaded() {
    let registry = Registry::new(model(), usize::MAX);
    assert_eq!(message(registry.activate("sums")), "there is no adapter `sums`; none is loaded");
    registry.load("sums", &golden("lora")).unwrap();
    registry.load("names", &golden("ia3")).unwrap();
    assert_eq!(logits(&registry.activate("sums").unwrap()), alone("lora"));
    assert_eq!(logits(&registry.activate("names").unwrap()), alone("ia3"));
    assert_eq!(registry.bytes(), bytes("lora") + bytes("ia3"));

    let taken = registry.activate("sums").unwrap();
    registry.load("sums", &golden("dora")).unwrap();
    assert_eq!(logits(&registry.activate("sums").unwrap()), alone("dora"));
    assert_eq!(logits(&taken), alone("lora"), "what was taken stays");

    registry.unload("sums").unwrap();
    let unknown = "there is no adapter `sums`; loaded are names";
    assert_eq!(message(registry.activate("sums")), unknown);
    assert_eq!(message(registry.unload("sums")), unknown);
    assert!(message(registry.load("sums", &golden("nothing"))).contains("adapter_config.json: No such file"));
    assert_eq!(registry.names(), [("names".to_owned(), true)]);
}

#[test]
fn memory_is_bounded_and_what_is_dropped_is_read_again() {
    let room = bytes("lora") + bytes("ia3");
    let registry = Registry::new(model(), room);
    registry.load("a", &golden("lora")).unwrap();
    registry.load("b", &golden("ia3")).unwrap();
    registry.activate("a").unwrap();
    registry.load("c", &golden("ia3")).unwrap();
    // b was used longest ago.
    assert_eq!(in_memory(&registry), ["a", "c"]);
    assert_eq!(logits(&registry.activate("b").unwrap()), alone("ia3"));
    assert!(registry.bytes() <= room);
    assert_eq!(in_memory(&registry), ["b", "c"]);
    assert_eq!(logits(&registry.activate("a").unwrap()), alone("lora"));

    let large = bytes("lora_all");
    assert_eq!(
        message(registry.load("d", &golden("lora_all"))),
        format!("the adapter `d` takes {large} bytes, and all adapters have room for {room}: give them more")
    );
    assert_eq!(registry.names().len(), 3);
}

#[test]
fn adapters_come_and_go_while_others_generate() {
    let registry = Registry::new(model(), bytes("lora") + bytes("ia3"));
    let kinds = ["lora", "ia3", "rslora"];
    let answer = |model: &T5| {
        let options = GenerationOptions { max_new_tokens: 6, ..Default::default() };
        generate(model, &Tape::off(Arc::new(Cpu)), &[(0, [7, 40, 99, 1])], &options).unwrap()
    };
    let wanted =
        kinds.map(|kind| answer(&attach(model(), &AdapterFile::open(&golden(kind)).unwrap()).unwrap()));
    kinds.iter().for_each(|kind| registry.load(kind, &golden(kind)).unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let mut turns = 0;
            while !done.load(Ordering::Relaxed) || turns == 0 {
                registry.load("other", &golden("dora")).unwrap();
                registry.load("rslora", &golden("rslora")).unwrap();
                registry.unload("other").unwrap();
                turns += 1;
            }
        });
        let generating: Vec<_> = (0..3)
            .map(|i| {
                let (registry, wanted, answer) = (&registry, &wanted, &answer);
                scope.spawn(move || {
                    for turn in 0..20 {
                        let which = (i + turn) % kinds.len();
                        assert_eq!(answer(&registry.activate(kinds[which]).unwrap()), wanted[which]);
                    }
                })
            })
            .collect();
        generating.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, Ordering::Relaxed);
        churn.join().unwrap();
    });
}
