//! Every operation against plain candle operations and their autograd, on every kind of CPU kernels.

mod adamw;
mod attention;
mod columns;
mod cross_entropy;
mod elementwise;
mod embedding;
mod errors;
mod harness;
mod joined_rows;
mod linear;
mod not_a_number;
mod parameters;
mod poison;
mod rms_norm;
mod tape;
mod threads;
