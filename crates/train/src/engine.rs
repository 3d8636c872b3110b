use std::sync::Arc;

use candle_core::{DType, Tensor};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tallow_data::{Packed, Sample};
use tallow_ops::{Cpu, Dest, Kernels, Parameters, Randomness, Tape, number};
use tallow_peft::Mix;
use tallow_t5::{Batch, GenerationOptions, T5, generate};

use crate::{Error, Result};

/// Gradient buffers of all shards together stay below this many bytes: with more, the threads share the
/// operations of one shard instead.
const SHARD_BYTES: usize = 256 << 20;

/// Computes losses, gradients and answers for batches of rows.
///
/// On the CPU the rows of a batch are dealt to shards, one tape and one thread each: hundreds of parallel
/// regions a step cost more than they give. Where there are fewer rows than threads, or the shards' gradients
/// would take too much memory, all threads share the operations of one tape.
pub struct Engine {
    kernels: Arc<dyn Kernels>,
    /// One pool of one thread for each shard.
    shards: Vec<ThreadPool>,
    /// All threads, for what is not dealt.
    all: ThreadPool,
}

impl Engine {
    /// An engine on the CPU with `threads` threads, at least one.
    ///
    /// # Panics
    /// If the system gives no threads.
    pub fn cpu(threads: usize) -> Self {
        Self::new(Arc::new(Cpu), threads, threads)
    }

    /// An engine of kernels that do not take rows dealt to threads: a device's, or candle's own operations. `threads` of
    /// the host help where an operation has work for them.
    ///
    /// # Panics
    /// If the system gives no threads.
    pub fn whole(kernels: Arc<dyn Kernels>, threads: usize) -> Self {
        Self::new(kernels, 1, threads)
    }

    fn new(kernels: Arc<dyn Kernels>, shards: usize, threads: usize) -> Self {
        let pool = |threads: usize| {
            ThreadPoolBuilder::new().num_threads(threads).build().expect("the system gives threads")
        };
        Self { kernels, shards: (0..shards.max(1)).map(|_| pool(1)).collect(), all: pool(threads.max(1)) }
    }

    /// The kernels.
    pub fn kernels(&self) -> &Arc<dyn Kernels> {
        &self.kernels
    }

    /// The number of threads that rows are dealt to.
    pub fn threads(&self) -> usize {
        self.shards.len()
    }

    /// Adds the gradient of the sum of the rows' losses to `gradients`; returns that sum, in parts that are still
    /// on the device: [`Engine::read`] fetches them. `randomness` makes the dropout of each shard; none drops
    /// nothing.
    ///
    /// # Errors
    /// If the model fails.
    pub fn accumulate(
        &self,
        model: &T5,
        parameters: &Parameters,
        rows: &[&Sample],
        smoothing: f64,
        randomness: Option<&(dyn Fn(u64) -> Randomness + Sync)>,
        gradients: &Tensor,
    ) -> Result<Vec<Tensor>> {
        self.accumulated(model, parameters, rows, smoothing, randomness, gradients)
            .map_err(|error| self.explained(error, model, rows, "a step"))
    }

    /// What is known where memory ran out over a step; other errors stay.
    fn explained(&self, error: Error, model: &T5, rows: &[&Sample], what: &str) -> Error {
        if !error.says_out_of_memory() {
            return error;
        }
        let tokens = |row: &&Sample| row.source.len() + row.target.len();
        let (all, longest): (usize, _) = (rows.iter().map(tokens).sum(), rows.iter().map(tokens).max());
        let lengths = rows.iter().map(|row| row.lengths()).collect();
        let bytes = self.step_bytes(model, lengths, 1, model.dtype());
        let advice = match rows.len() {
            1 => "Cut longer rows by max_source_tokens and max_target_tokens, or take a smaller model",
            _ => {
                "Lower training.batch_size or batch_tokens (and raise accumulation), or cut longer rows by \
                 max_source_tokens; batch_tokens = \"auto\" finds what fits"
            }
        };
        let rows = match rows.len() {
            1 => "a row".to_owned(),
            count => format!("{count} rows"),
        };
        let longest = longest.unwrap_or_default();
        let what = format!("{what} over {rows} of {all} tokens, the longest {longest}");
        self.out_of_memory(what, Some(bytes), advice)
    }

    fn out_of_memory(&self, what: String, estimate: Option<f64>, advice: &'static str) -> Error {
        let total = self.kernels.memory().map(|memory| memory.total);
        Error::OutOfMemory { device: self.kernels.hardware(), total, what, estimate, advice }
    }

    fn accumulated(
        &self,
        model: &T5,
        parameters: &Parameters,
        rows: &[&Sample],
        smoothing: f64,
        randomness: Option<&(dyn Fn(u64) -> Randomness + Sync)>,
        gradients: &Tensor,
    ) -> Result<Vec<Tensor>> {
        let shard = |index: u64, rows: &[&Sample], gradients: &Tensor| -> Result<Tensor> {
            let kernels = self.kernels.clone();
            let tape = match randomness {
                Some(randomness) => Tape::with_dropout(kernels, randomness(index)),
                None => Tape::new(kernels),
            };
            let loss = model.loss(&tape, &self.batch(model, rows)?, smoothing)?;
            let (value, one) = (loss.value().clone(), loss.value().ones_like()?);
            tape.backward(loss, one, gradients)?;
            Ok(value)
        };
        if shards(self.threads(), rows.len(), parameters.buffer_len()) == 1 {
            return Ok(vec![self.all.install(|| shard(0, rows, gradients))?]);
        }
        let shards = deal(model, rows, self.threads());
        // The first shard adds to the buffer itself, the others to their own.
        let rest = (1..shards.len()).map(|_| parameters.gradients()).collect::<Result<Vec<_>, _>>()?;
        let buffers: Vec<&Tensor> = std::iter::once(gradients).chain(&rest).collect();
        let losses = self.run(&shards, |index, rows| shard(index as u64, rows, buffers[index]))?;
        for other in &rest {
            self.all.install(|| self.kernels.add(Dest::Add(gradients.clone()), other, 1.0))?;
        }
        Ok(losses)
    }

    /// The sum of the rows' losses, without dropout and label smoothing, in parts as [`Engine::accumulate`]'s.
    ///
    /// # Errors
    /// If the model fails.
    pub fn loss(&self, model: &T5, rows: &[&Sample]) -> Result<Vec<Tensor>> {
        let shard = |rows: &[&Sample]| -> Result<Tensor> {
            let tape = Tape::off(self.kernels.clone());
            let loss = self.batch(model, rows).and_then(|batch| Ok(model.loss(&tape, &batch, 0.0)?));
            let loss = loss.map_err(|error| self.explained(error, model, rows, "a loss"))?;
            Ok(loss.value().clone())
        };
        if self.threads() > rows.len() {
            return Ok(vec![self.all.install(|| shard(rows))?]);
        }
        self.run(&deal(model, rows, self.threads()), |_, rows| shard(rows))
    }

    /// Fetches numbers from the device, all at once: the host waits for them a single time.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn read(&self, numbers: &[Tensor]) -> Result<Vec<f64>> {
        if self.kernels.device().is_cpu() || numbers.is_empty() {
            return Ok(numbers.iter().map(number).collect::<Result<_, _>>()?);
        }
        let flat =
            numbers.iter().map(|x| x.reshape(1)?.to_dtype(DType::F32)).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::cat(&flat, 0)?.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
    }

    /// Generates an answer to each source, `batch` rows at a time on each thread, or on all of them where there are no
    /// more; `done` hears how many rows each batch had.
    ///
    /// # Errors
    /// If the model fails.
    pub fn generate(
        &self,
        model: &T5,
        sources: &[&[u32]],
        options: &GenerationOptions,
        batch: usize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Vec<u32>>> {
        self.generated(model, sources, &|_| (), options, batch, done)
    }

    /// The same with each source answered by the adapter of `mix` whose number `of_row` has, or by the base.
    ///
    /// # Errors
    /// If the model fails.
    pub fn generate_mixed(
        &self,
        mix: &Mix,
        of_row: &Arc<[Option<usize>]>,
        sources: &[&[u32]],
        options: &GenerationOptions,
        batch: usize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Vec<u32>>> {
        // Each stretch of rows on one adapter takes products of its own.
        let side_by_side = |rows: &mut [usize]| rows.sort_by_key(|&row| of_row.get(row).copied().flatten());
        self.generated(&mix.model(of_row), sources, &side_by_side, options, batch, done)
    }

    /// Generates with the rows of each batch as `arrange` puts them.
    fn generated(
        &self,
        model: &T5,
        sources: &[&[u32]],
        arrange: &dyn Fn(&mut [usize]),
        options: &GenerationOptions,
        batch: usize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Vec<u32>>> {
        // Rows of like length finish at like times.
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(sources[row].len()));
        let size = batch_size(sources.len(), batch, self.shards.len());
        order.chunks_mut(size).for_each(arrange);
        let batches: Vec<&[usize]> = order.chunks(size).collect();
        let next = std::sync::atomic::AtomicUsize::new(0);
        let answer = |rows: &[usize]| -> Result<Vec<Vec<u32>>> {
            let rows: Vec<(usize, &[u32])> = rows.iter().map(|&row| (row, sources[row])).collect();
            let answers = generate(model, &Tape::off(self.kernels.clone()), &rows, options);
            let answers = answers.map_err(|error| match Error::from(error) {
                error if error.says_out_of_memory() => {
                    let tokens: usize = rows.iter().map(|(_, ids)| ids.len()).sum();
                    let what = format!("text for {} prompts of {tokens} tokens", rows.len());
                    self.out_of_memory(what, None, "Lower evaluation.batch_size (--batch-size of generate)")
                }
                error => error,
            })?;
            done(rows.len());
            Ok(answers)
        };
        let worker = || -> Result<Vec<(usize, Vec<u32>)>> {
            let mut found = Vec::new();
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(rows) = batches.get(index) else { return Ok(found) };
                found.extend(rows.iter().copied().zip(answer(rows)?));
            }
        };
        let found = match batches.len() {
            // One batch: the threads share its operations.
            1 => vec![self.all.install(worker)?],
            _ => self.each_thread(worker)?,
        };
        let mut answers = vec![Vec::new(); sources.len()];
        for (row, tokens) in found.into_iter().flatten() {
            answers[row] = tokens;
        }
        Ok(answers)
    }

    /// Runs work whose operations all threads share.
    pub(crate) fn on_all<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.all.install(work)
    }

    /// Runs the same work on every thread that rows are dealt to, side by side.
    pub(crate) fn each_thread<R: Send>(&self, work: impl Fn() -> Result<R> + Sync) -> Result<Vec<R>> {
        self.run(&vec![(); self.threads()], |_, &()| work())
    }

    fn batch(&self, model: &T5, rows: &[&Sample]) -> Result<Batch> {
        // Here, since kernels on a device cannot report an id without making the host wait.
        model.check_ids(rows.iter().flat_map(|row| row.source.iter().chain(&row.target)))?;
        let source = Packed::new(rows.iter().map(|row| &row.source));
        let target = Packed::new(rows.iter().map(|row| &row.target));
        let (start, device) = (model.config.decoder_start_token_id, self.kernels.device());
        Ok(Batch::new((&source.ids, &source.bounds), (&target.ids, &target.bounds), start, device)?)
    }

    /// Runs each item on the shard of its number, side by side; results come in order.
    fn run<I: Sync, R: Send>(
        &self,
        items: &[I],
        work: impl Fn(usize, &I) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        std::thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> = items
                .iter()
                .zip(&self.shards)
                .enumerate()
                .map(|(index, (item, pool))| scope.spawn(move || pool.install(|| work(index, item))))
                .collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }
}

/// The shards that so many rows are dealt to, where `trained` values have gradients: one for each thread, or one.
pub(crate) fn shards(threads: usize, rows: usize, trained: usize) -> usize {
    let most = SHARD_BYTES / (4 * trained).max(1);
    if threads > most.min(rows) { 1 } else { threads }
}

/// The rows of a batch of generation, where so many come and a batch has `most`. What one batch holds all threads work on
/// together, since each batch reads every weight for each token.
pub(crate) fn batch_size(rows: usize, most: usize, threads: usize) -> usize {
    let share = if rows <= most { most } else { rows.div_ceil(threads) };
    most.min(share).max(1)
}

/// Deals rows to `count` shards of about the same work; there are as many rows at least.
fn deal<'a>(model: &T5, rows: &[&'a Sample], count: usize) -> Vec<Vec<&'a Sample>> {
    let work = |row: &Sample| model.config.forward_flops(row.source.len(), row.target.len());
    let shards = balance(&rows.iter().map(|&row| work(row)).collect::<Vec<_>>(), count);
    shards.into_iter().map(|shard| shard.into_iter().map(|row| rows[row]).collect()).collect()
}

/// Deals items of these weights to `count` parts: each, the heaviest first, to the lightest part; then items
/// are exchanged between the heaviest part and another for as long as that makes the heaviest lighter.
fn balance(weights: &[f64], count: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let mut parts = vec![Vec::new(); count];
    let mut loads = vec![0.0f64; count];
    let extreme = |loads: &[f64], sign: f64| {
        (0..count).max_by(|&a, &b| (sign * loads[a]).total_cmp(&(sign * loads[b]))).expect("a part")
    };
    for item in order {
        let lightest = extreme(&loads, -1.0);
        parts[lightest].push(item);
        loads[lightest] += weights[item];
    }
    loop {
        let heaviest = extreme(&loads, 1.0);
        let exchange = best_exchange(weights, &parts, &loads, heaviest);
        let Some((other, given, taken, weight)) = exchange else { return parts };
        let item = parts[heaviest].swap_remove(given);
        if let Some(taken) = taken {
            let back = parts[other].swap_remove(taken);
            parts[heaviest].push(back);
        }
        parts[other].push(item);
        loads[heaviest] -= weight;
        loads[other] += weight;
    }
}

/// The exchange that lightens the heaviest part most without making another as heavy: (the other part, the
/// place of the item to give, of one to take for it, the weight that moves).
fn best_exchange(
    weights: &[f64],
    parts: &[Vec<usize>],
    loads: &[f64],
    heaviest: usize,
) -> Option<(usize, usize, Option<usize>, f64)> {
    let mut best = None;
    // Below this, rounding could make an exchange and its reverse both look like gains.
    let mut least = loads[heaviest] * (1.0 - 1e-9);
    for other in (0..parts.len()).filter(|&other| other != heaviest) {
        for (given, &item) in parts[heaviest].iter().enumerate() {
            let for_nothing = std::iter::once((None, 0.0));
            let for_one = parts[other].iter().enumerate().map(|(place, &back)| (Some(place), weights[back]));
            for (taken, back) in for_nothing.chain(for_one) {
                let moved = weights[item] - back;
                let peak = (loads[heaviest] - moved).max(loads[other] + moved);
                if moved > 0.0 && peak < least {
                    (least, best) = (peak, Some((other, given, taken, moved)));
                }
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::balance;

    #[test]
    fn parts_are_whole_and_nearly_even() {
        let weights = [31.0, 17.0, 23.0, 5.0, 11.0, 8.0, 29.0, 13.0];
        for count in 1..=8 {
            let parts = balance(&weights, count);
            let mut items: Vec<usize> = parts.concat();
            items.sort_unstable();
            assert_eq!(items, (0..8).collect::<Vec<_>>());
            assert_eq!(parts.len(), count);
        }
        // Dealing alone would leave 70 against 50.
        let weights = [30.0, 30.0, 20.0, 20.0, 20.0];
        let load = |part: Vec<usize>| part.iter().map(|&i| weights[i]).sum::<f64>();
        assert_eq!(balance(&weights, 2).into_iter().map(load).collect::<Vec<_>>(), [60.0, 60.0]);
    }
}
