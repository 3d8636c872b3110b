use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use candle_core::DType;
use serde_json::{Value, json};
use tallow_checks::golden::{self, Golden};
use tallow_checks::operations::{Case, Extent, Finding, cases};
use tallow_checks::training;
use tallow_ops::{Composed, Cuda, Kernels, Operation, Selected};
use tallow_train::Engine;

use super::Arguments;

const DTYPES: [DType; 2] = [DType::F32, DType::BF16];

/// How far losses may be from those that the CPU gives in f32, relative: on the mean, and at worst. bf16 keeps three
/// digits, and training carries every rounding on.
const LOSSES: [(DType, f64, f64); 2] = [(DType::F32, 5e-4, 2e-3), (DType::BF16, 1e-2, 5e-2)];

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

    fn json(&self) -> Value {
        let line = |line: &Line| json!({ "part": line.part, "what": line.what, "passed": line.passed, "note": line.note });
        Value::Array(self.lines.iter().map(line).collect())
    }
}

pub fn run(arguments: &Arguments) -> Result<bool> {
    let begin = Instant::now();
    let cuda = Arc::new(Cuda::new(arguments.gpu, false)?.poisoned());
    println!("{}, driver {}", cuda.gpu_name(), cuda.driver_version()?);
    let own: Arc<dyn Kernels> = cuda.clone();
    let composed: Arc<dyn Kernels> = Arc::new(Composed::new(own.device().clone()));
    let cases = cases(if arguments.quick { Extent::Quick } else { Extent::Full });
    let mut report = Report::default();
    let findings = operations(&own, &composed, &cases, &mut report);
    let verified: Vec<&str> =
        verified(&findings).into_iter().filter(|(_, passed)| *passed).map(|(name, _)| name).collect();
    goldens(arguments, &[&own, &composed], &mut report);
    if !arguments.quick {
        repeats(arguments, &own, &cases, &mut report)?;
        losses(arguments, &own, &mut report)?;
    }
    let failed = report.lines.iter().filter(|line| !line.passed).count();
    println!("{} checks, {failed} failed, {:.1} s", report.lines.len(), begin.elapsed().as_secs_f64());
    println!("operations whose kernels agree: {}", verified.join(", "));
    let result = json!({
        "gpu": cuda.gpu_name(),
        "driver": cuda.driver_version()?,
        "quick": arguments.quick,
        "failed": failed,
        "agreeing_operations": verified,
        "operations": findings,
        "checks": report.json(),
        "seconds": begin.elapsed().as_secs_f64(),
    });
    println!("{result}");
    Ok(failed == 0)
}

/// Every case, the operation's own kernels against candle's on the same device.
fn operations(
    own: &Arc<dyn Kernels>,
    composed: &Arc<dyn Kernels>,
    cases: &[Case],
    report: &mut Report,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for case in cases {
        // What surrounds the operation is candle's on both sides, so that a difference is its own.
        let kernels: Arc<dyn Kernels> = Arc::new(Selected::new(own.clone(), [case.operation]));
        for dtype in DTYPES {
            let found = case.compare(&kernels, composed, dtype);
            let note = match &found.failure {
                Some(failure) => failure.clone(),
                None => format!("{:.1e} of {:.0e}", found.error, found.tolerance),
            };
            let what = format!("{} {}, {}", found.operation, found.dtype, found.case);
            report.put("operation", what, found.passed(), note);
            findings.push(found);
        }
    }
    findings
}

/// Whether each operation passed all of its cases.
fn verified(findings: &[Finding]) -> BTreeMap<&'static str, bool> {
    let mut table: BTreeMap<&'static str, bool> =
        Operation::ALL.into_iter().map(|operation| (operation.name(), true)).collect();
    for finding in findings {
        *table.entry(finding.operation).or_default() &= finding.passed();
    }
    table
}

type Check = fn(&Golden, &Arc<dyn Kernels>);

fn goldens(arguments: &Arguments, kinds: &[&Arc<dyn Kernels>], report: &mut Report) {
    let checks: [(&str, Check); 5] = [
        ("hidden states, logits, losses", golden::hidden_states_logits_and_losses),
        ("adapters", golden::adapters_logits_losses_gradients_and_merged_weights),
        ("gradients of the base", golden::gradients_of_every_base_tensor),
        ("ten training steps", golden::ten_training_steps),
        ("greedy decodes", golden::greedy_decodes),
    ];
    // A check panics with what differs; the report says it once.
    std::panic::set_hook(Box::new(|_| {}));
    for golden in Golden::in_folder(&arguments.goldens, true) {
        for kernels in kinds {
            for (name, check) in checks {
                let outcome = catch_unwind(AssertUnwindSafe(|| check(&golden, kernels)));
                let note = outcome.as_ref().map_or_else(|panic| message(&**panic), |()| "agrees".to_owned());
                report.put(
                    "golden",
                    format!("{}, {}, {name}", golden.name(), kernels.name()),
                    outcome.is_ok(),
                    note,
                );
            }
        }
    }
    let _ = std::panic::take_hook();
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
}

/// The same step twice; where it differs, the operations that do not repeat.
fn repeats(arguments: &Arguments, own: &Arc<dyn Kernels>, cases: &[Case], report: &mut Report) -> Result<()> {
    let batches = training::batches(&arguments.model, &arguments.rows)?;
    for dtype in DTYPES {
        let adapted = training::adapted(&arguments.model, own, dtype)?;
        let engine = Engine::new(own.clone(), 1);
        let gradient = || -> Result<Vec<u32>> {
            let gradient = training::gradient(&engine, &adapted, &batches[0])?.to_vec1::<f32>()?;
            Ok(gradient.into_iter().map(f32::to_bits).collect())
        };
        let equal = gradient()? == gradient()?;
        let mut note = "bit-equal".to_owned();
        if !equal {
            let unlike = cases.iter().filter(|case| !case.repeats(own, dtype).unwrap_or(false));
            let mut names: Vec<&str> = unlike.map(|case| case.operation.name()).collect();
            names.dedup();
            note = format!("not repeatable: {}", names.join(", "));
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
    let engine = Engine::new(own.clone(), 1);
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
