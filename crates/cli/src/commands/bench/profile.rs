use anyhow::Result;
use candle_core::DType;
use tallow_ops::trace;
use tallow_train::Engine;

/// Where the time of steps goes, beside what large products reach in the same minute.
pub struct Profile<'a> {
    engine: &'a Engine,
    /// Of the steps' products.
    dtype: DType,
    /// FLOP/s, before each step.
    product_rates: Vec<f64>,
}

impl<'a> Profile<'a> {
    pub fn new(engine: &'a Engine, dtype: DType) -> Self {
        Self { engine, dtype, product_rates: Vec::new() }
    }

    /// To be called before each step that counts.
    pub fn before_step(&mut self) -> Result<()> {
        if self.product_rates.is_empty() {
            trace::start(self.engine.kernels().clock());
        }
        self.product_rates.push(self.engine.product_rate(self.dtype)?);
        Ok(())
    }

    /// Prints milliseconds of wall time and GFLOP/s by operation, of steps that took `seconds` in all; threads run side
    /// by side. What an operation has computed again of its input is its own time.
    pub fn report(self, seconds: f64) {
        let costs = trace::stop();
        let (steps, threads) = (self.product_rates.len(), self.engine.threads());
        let wall = seconds * 1e3 / steps as f64;
        eprintln!(
            "{:<9} {:<14} {:>6} {:>8} {:>9} {:>6} {:>9}",
            "phase", "operation", "calls", "launches", "ms/step", "share", "GFLOP/s"
        );
        let (mut sum, mut flops) = (0.0, 0);
        for ((phase, name), cost) in costs {
            let busy = cost.time.as_secs_f64();
            let ms = busy * 1e3 / (steps * threads) as f64;
            eprintln!(
                "{:<9} {name:<14} {:>6} {:>8} {ms:>9.2} {:>5.1}% {:>9.1}",
                format!("{phase:?}").to_lowercase(),
                cost.calls / steps as u64,
                cost.launches / steps as u64,
                100.0 * ms / wall,
                cost.flops as f64 * threads as f64 / busy / 1e9,
            );
            sum += ms;
            flops += cost.flops;
        }
        let rate = flops as f64 / seconds;
        let product_rate = self.product_rates.iter().sum::<f64>() / steps as f64;
        eprintln!(
            "{wall:.1} ms a step, {sum:.1} of them in operations; {:.1} GFLOP of products, {:.1} GFLOP/s: {:.1}% of \
             the {:.1} that large products reach between the steps",
            flops as f64 / 1e9 / steps as f64,
            rate / 1e9,
            100.0 * rate / product_rate,
            product_rate / 1e9,
        );
    }
}
