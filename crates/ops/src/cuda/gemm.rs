use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

use candle_core::DType;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::{result, sys};

use super::{Cuda, Operand};
use crate::{Result, trace};

/// How one matrix of a product lies: row-major, with `stride` values from row to row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub stride: usize,
    /// The product takes its transpose.
    pub transposed: bool,
}

impl Layout {
    pub fn plain(stride: usize) -> Self {
        Self { stride, transposed: false }
    }

    pub fn t(stride: usize) -> Self {
        Self { stride, transposed: true }
    }

    fn operation(self) -> sys::cublasOperation_t {
        match self.transposed {
            true => sys::cublasOperation_t::CUBLAS_OP_T,
            false => sys::cublasOperation_t::CUBLAS_OP_N,
        }
    }
}

/// The size of a product (m, k) (k, n) -> (m, n).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub m: usize,
    pub k: usize,
    pub n: usize,
}

/// scale a b, put in place of c or added to it; all three row-major.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub size: Size,
    pub a: Layout,
    pub b: Layout,
    /// From row to row of the result.
    pub stride: usize,
    pub scale: f32,
    pub accumulate: bool,
}

/// Device arrays of as many pointers as a grouped call has products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pointers {
    pub a: u64,
    pub b: u64,
    pub c: u64,
}

fn data_type(dtype: DType) -> sys::cudaDataType {
    match dtype {
        DType::BF16 => sys::cudaDataType::CUDA_R_16BF,
        _ => sys::cudaDataType::CUDA_R_32F,
    }
}

const ALGORITHM: sys::cublasGemmAlgo_t = sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT;

impl Cuda {
    /// Sums are f32 always; f32 operands may be rounded to TF32 first.
    fn compute_type(&self, dtype: DType) -> sys::cublasComputeType_t {
        match self.settings.tf32 && dtype == DType::F32 {
            true => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            false => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        }
    }

    /// One product. cuBLAS counts by columns: of row-major matrices it computes the transposed product b^T a^T.
    pub(crate) fn gemm(&self, product: Product, a: Operand, b: Operand, c: Operand) -> Result<()> {
        self.gemm_strided(product, (a, 0), (b, 0), (c, 0), 1)
    }

    /// `count` products of one size, each operand so many values from one to the next.
    pub(crate) fn gemm_strided(
        &self,
        product: Product,
        (a, a_step): (Operand, usize),
        (b, b_step): (Operand, usize),
        (c, c_step): (Operand, usize),
        count: usize,
    ) -> Result<()> {
        let Size { m, k, n } = product.size;
        trace::product(m, k, n * count);
        trace::launch();
        let (alpha, beta) = (product.scale, if product.accumulate { 1.0f32 } else { 0.0 });
        let blas = self.cuda.cublas_handle();
        let context = self.cuda.cuda_stream();
        context.context().bind_to_thread().w()?;
        // SAFETY: the operands cover what their strides and sizes reach, by the callers' check of shapes.
        unsafe {
            result::gemm_strided_batched_ex(
                *blas.handle(),
                product.b.operation(),
                product.a.operation(),
                n as c_int,
                m as c_int,
                k as c_int,
                (&raw const alpha).cast(),
                b.pointer as *const c_void,
                data_type(b.dtype),
                product.b.stride as c_int,
                b_step as i64,
                a.pointer as *const c_void,
                data_type(a.dtype),
                product.a.stride as c_int,
                a_step as i64,
                (&raw const beta).cast(),
                c.pointer as *mut c_void,
                data_type(c.dtype),
                product.stride as c_int,
                c_step as i64,
                count as c_int,
                self.compute_type(a.dtype),
                ALGORITHM,
            )
            .w()?;
        }
        Ok(())
    }

    /// Whether products of operands that start at multiples of `step` values may be grouped: cuBLAS needs 16-byte
    /// alignment there.
    pub(crate) fn groups(&self, step: usize, dtype: DType) -> bool {
        let aligned = (step * dtype.size_in_bytes()).is_multiple_of(16);
        aligned && self.settings.groups && !self.groups_failed.load(Ordering::Relaxed)
    }

    /// Groups of products, each of one size with `members` products, all of one type, in one launch; the pointers
    /// come group by group. False if this cuBLAS cannot; it is not asked again.
    pub(crate) fn gemm_grouped(
        &self,
        products: &[Product],
        members: usize,
        pointers: Pointers,
        dtype: DType,
    ) -> Result<bool> {
        let ints =
            |of: &dyn Fn(&Product) -> usize| products.iter().map(|p| of(p) as c_int).collect::<Vec<_>>();
        let (m, n, k) = (ints(&|p| p.size.m), ints(&|p| p.size.n), ints(&|p| p.size.k));
        let strides = [ints(&|p| p.a.stride), ints(&|p| p.b.stride), ints(&|p| p.stride)];
        let a_operations: Vec<_> = products.iter().map(|p| p.a.operation()).collect();
        let b_operations: Vec<_> = products.iter().map(|p| p.b.operation()).collect();
        let alphas: Vec<f32> = products.iter().map(|p| p.scale).collect();
        let betas: Vec<f32> = products.iter().map(|p| if p.accumulate { 1.0 } else { 0.0 }).collect();
        let sizes = vec![members as c_int; products.len()];
        let blas = self.cuda.cublas_handle();
        self.cuda.cuda_stream().context().bind_to_thread().w()?;
        // SAFETY: the host arrays have an entry for each group, and the device arrays one for each product.
        let status = unsafe {
            sys::cublasGemmGroupedBatchedEx(
                *blas.handle(),
                b_operations.as_ptr(),
                a_operations.as_ptr(),
                n.as_ptr(),
                m.as_ptr(),
                k.as_ptr(),
                alphas.as_ptr().cast(),
                pointers.b as *const *const c_void,
                data_type(dtype),
                strides[1].as_ptr(),
                pointers.a as *const *const c_void,
                data_type(dtype),
                strides[0].as_ptr(),
                betas.as_ptr().cast(),
                pointers.c as *const *mut c_void,
                data_type(dtype),
                strides[2].as_ptr(),
                products.len() as c_int,
                sizes.as_ptr(),
                self.compute_type(dtype),
            )
        };
        if status != sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS {
            // An older one, or one that knows no such group. Should the device itself have failed, the next call says so.
            self.groups_failed.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        trace::launch();
        for Product { size: Size { m, k, n }, .. } in products {
            trace::product(*m, *k, n * members);
        }
        Ok(true)
    }
}
