use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use candle_core::DType;
use serde_json::{Value, json};
use tallow_checks::golden::{self, Golden};
use tallow_checks::operations::{Case, Extent, Finding, cases, tolerance};
use tallow_checks::training;
use tallow_ops::{Composed, Cuda, CudaSettings, Kernels, Operation, Selected};
use tallow_train::Engine;

use super::Arguments;

const DTYPES: [DType; 2] = [DType::F32, DType::BF16];

/// How far losses may be from those that the CPU gives in f32, relative: on the mean, and at worst. For bf16 it is what
/// transformers and peft do in bf16 to their own f32 losses of these batches: over nine initial adapters, 3.6e-3 to
/// 5.5e-3 on the mean and 1.0e-2 to 2.1e-2 at worst.
const LOSSES: [(DType, f64, f64); 2] = [(DType::F32, 5e-4, 2e-3), (DType::BF16, 5e-3, 3e-2)];

/// One line of the table.
struct Line {
    part: &'static str,
    what: String,
    passed: bool,
    note: String,
}

#[derive(Default)]
struct Report {
    lines: Vec<Line>,
}

impl Report {
    fn put(&mut self, part: &'static str, what: impl Into<String>, passed: bool, note: impl Into<String>) {
        let (what, note) = (what.into(), note.into());
        let verdict = if passed { "ok" } else { "FAILED" };
        println!("{part:<10} {verdict:<7} {what}: {note}");
        self.lines.push(Line { part, what, passed, note });
    }

    /// Runs one part; an error or a panic that ends it is a line of its own.
    fn part(&mut self, name: &'static str, run: impl FnOnce(&mut Self) -> Result<()>) {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(self)));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.put(name, "all of it", false, format!("{error:#}")),
            Err(panic) => self.put(name, "all of it", false, message(&*panic)),
        }
    }

    fn json(&self) -> Value {
        let line = |line: &Line| json!({ "part": line.part, "what": line.what, "passed": line.passed, "note": line.note });
        Value::Array(self.lines.iter().map(line).collect())
    }
}

pub fn run(arguments: &Arguments) -> Result<bool> {
    let begin = Instant::now();
    let settings = CudaSettings { poison: true, ..CudaSettings::default() };
    let cuda = Cuda::new(arguments.gpu, settings)?;
    println!("{}, driver {}", cuda.gpu_name(), cuda.driver_version()?);
    let mut report = Report::default();
    // What a check panics with is a line of the report, once.
    std::panic::set_hook(Box::new(|_| {}));
    let mut findings = Vec::new();
    let alive = operations(arguments, &cuda, &mut report, &mut findings);
    let own: Arc<dyn Kernels> = Arc::new(cuda.with(settings));
    if alive {
        goldens(arguments, &own, &mut report);
        if !arguments.quick {
            report.part("repeat", |report| repeats(arguments, &own, report));
            report.part("training", |report| losses(arguments, &own, report));
        }
    }
    let _ = std::panic::take_hook();
    let agreeing = agreeing(&findings);
    let failed = report.lines.iter().filter(|line| !line.passed).count();
    println!("{} checks, {failed} failed, {:.1} s", report.lines.len(), begin.elapsed().as_secs_f64());
    println!("operations whose kernels agree: {}", agreeing.join(", "));
    let result = json!({
        "gpu": cuda.gpu_name(),
        "driver": cuda.driver_version()?,
        "quick": arguments.quick,
        "seed": arguments.seed,
        "failed": failed,
        "agreeing_operations": agreeing,
        "operations": findings,
        "checks": report.json(),
        "seconds": begin.elapsed().as_secs_f64(),
    });
    println!("{result}");
    Ok(failed == 0)
}

/// Every operation: as it is used; with everything that is done in chunks in small ones; and without grouped products.
/// False if a kernel has left the device in a state in which nothing more can be computed.
fn operations(arguments: &Arguments, cuda: &Cuda, report: &mut Report, findings: &mut Vec<Finding>) -> bool {
    let extent = if arguments.quick { Extent::Quick } else { Extent::Full(arguments.seed) };
    let plain = CudaSettings { poison: true, ..CudaSettings::default() };
    let chunks = [Operation::Attention, Operation::CrossEntropy];
    let ways: [(&str, CudaSettings, &[Operation]); 3] = [
        ("", plain, &Operation::ALL),
        (" in small chunks", CudaSettings { scores: 1000, logits: 2500, ..plain }, &chunks),
        (" without groups", CudaSettings { groups: false, ..plain }, &[Operation::Attention]),
    ];
    let composed: Arc<dyn Kernels> = Arc::new(Composed::new(cuda.device().clone()));
    for (way, settings, of) in ways {
        let own: Arc<dyn Kernels> = Arc::new(cuda.with(settings));
        // Small chunks of long rows would be thousands of launches.
        let extent = if settings == plain { extent } else { Extent::Quick };
        for case in cases(extent).iter().filter(|case| of.contains(&case.operation)) {
            // What surrounds the operation is candle's on both sides, so that a difference is its own.
            let kernels: Arc<dyn Kernels> = Arc::new(Selected::new(own.clone(), [case.operation]));
            for dtype in DTYPES {
                let mut found = compare(case, &kernels, &composed, dtype);
                found.case += way;
                let note = match &found.failure {
                    Some(failure) => failure.clone(),
                    None => format!("{:.1e} of {:.0e}", found.error, found.tolerance),
                };
                let what = format!("{} {}, {}", found.operation, found.dtype, found.case);
                report.put("operation", what, found.passed(), note);
                findings.push(found);
            }
            if let Err(error) = cuda.synchronize() {
                let note = format!("the device computes nothing more after it: {error}");
                report.put("operation", format!("{}, {}{way}", case.operation, case.name), false, note);
                return false;
            }
        }
    }
    true
}

/// The comparison, with a panic as a failure.
fn compare(case: &Case, own: &Arc<dyn Kernels>, reference: &Arc<dyn Kernels>, dtype: DType) -> Finding {
    catch_unwind(AssertUnwindSafe(|| case.compare(own, reference, dtype))).unwrap_or_else(|panic| Finding {
        operation: case.operation.name(),
        case: case.name.clone(),
        dtype: dtype.as_str(),
        error: f64::NAN,
        tolerance: tolerance(dtype),
        failure: Some(message(&*panic)),
    })
}

/// The operations that passed all of their cases.
fn agreeing(findings: &[Finding]) -> Vec<&'static str> {
    let of = |operation: Operation| findings.iter().filter(move |found| found.operation == operation.name());
    let agrees = |operation: &Operation| of(*operation).count() > 0 && of(*operation).all(Finding::passed);
    Operation::ALL.into_iter().filter(agrees).map(Operation::name).collect()
}

type Check = fn(&Golden, &Arc<dyn Kernels>);

fn goldens(arguments: &Arguments, own: &Arc<dyn Kernels>, report: &mut Report) {
    let composed: Arc<dyn Kernels> = Arc::new(Composed::new(own.device().clone()));
    let checks: [(&str, Check); 6] = [
        ("hidden states, logits, losses", golden::hidden_states_logits_and_losses),
        ("adapters", golden::adapters_logits_losses_gradients_and_merged_weights),
        ("gradients of the base", golden::gradients_of_every_base_tensor),
        ("ten training steps", golden::ten_training_steps),
        ("decodes", golden::decodes),
        ("beam search", golden::beams),
    ];
    let folders = catch_unwind(|| Golden::in_folder(&arguments.goldens, true));
    let folders = match folders {
        Ok(folders) => folders,
        Err(panic) => return report.put("golden", "the folders", false, message(&*panic)),
    };
    for golden in folders {
        for kernels in [own, &composed] {
            for (name, check) in checks {
                let outcome = catch_unwind(AssertUnwindSafe(|| check(&golden, kernels)));
                let note = outcome.as_ref().map_or_else(|panic| message(&**panic), |()| "agrees".to_owned());
                let what = format!("{}, {}, {name}", golden.name(), kernels.name());
                report.put("golden", what, outcome.is_ok(), note);
            }
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
}

/// The same step twice, from the rows to the parameters; where it differs, the operations that do not repeat.
fn repeats(arguments: &Arguments, own: &Arc<dyn Kernels>, report: &mut Report) -> Result<()> {
    let batches = training::batches(&arguments.model, &arguments.rows)?;
    let engine = Engine::whole(own.clone(), 1);
    for dtype in DTYPES {
        let step = || -> Result<Vec<u32>> {
            let adapted = training::adapted(&arguments.model, own, dtype)?;
            let mut numbers = training::gradient(&engine, &adapted, &batches[0])?.to_vec1::<f32>()?;
            training::losses(&engine, &adapted, &batches, 1)?;
            numbers.extend(adapted.parameters.state().to_vec1::<f32>()?);
            Ok(numbers.into_iter().map(f32::to_bits).collect())
        };
        let equal = step()? == step()?;
        let mut note = "bit-equal".to_owned();
        if !equal {
            let cases = cases(Extent::Full(arguments.seed));
            let unlike = cases.iter().filter(|case| !case.repeats(own, dtype).unwrap_or(false));
            let names: BTreeSet<&str> = unlike.map(|case| case.operation.name()).collect();
            note = match names.is_empty() {
                true => "differs, though each operation alone repeats".to_owned(),
                false => format!("not repeatable: {}", names.into_iter().collect::<Vec<_>>().join(", ")),
            };
        }
        report.put("repeat", format!("the same step twice, {}", dtype.as_str()), equal, note);
    }
    Ok(())
}

/// Training against the CPU's own kernels in f32.
fn losses(arguments: &Arguments, own: &Arc<dyn Kernels>, report: &mut Report) -> Result<()> {
    let batches = training::batches(&arguments.model, &arguments.rows)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = |engine: &Engine, dtype: DType| -> Result<Vec<f64>> {
        let adapted = training::adapted(&arguments.model, engine.kernels(), dtype)?;
        Ok(training::losses(engine, &adapted, &batches, arguments.steps)?)
    };
    let wanted = run(&Engine::cpu(threads), DType::F32)?;
    let engine = Engine::whole(own.clone(), 1);
    for (dtype, mean_limit, worst_limit) in LOSSES {
        let far: Vec<f64> =
            run(&engine, dtype)?.iter().zip(&wanted).map(|(a, b)| (a / b - 1.0).abs()).collect();
        let mean = far.iter().sum::<f64>() / far.len() as f64;
        // NaN is the worst of all.
        let worst = far.iter().fold(0.0, |worst, &x| if x <= worst { worst } else { x });
        let what = format!("{} losses against the CPU, {}", wanted.len(), dtype.as_str());
        let note = format!("mean {mean:.1e} of {mean_limit:.0e}, at worst {worst:.1e} of {worst_limit:.0e}");
        report.put("training", what, mean <= mean_limit && worst <= worst_limit, note);
    }
    Ok(())
}
