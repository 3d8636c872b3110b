use std::fmt;
use std::str::FromStr;

use candle_core::DType;
use serde::{Deserialize, Serialize};

/// Where a run computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub enum Place {
    /// The first GPU that this binary can use, or else the CPU.
    #[default]
    Auto,
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
    Metal,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("cuda:").map(str::parse);
        match (text, number) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            ("metal", _) => Ok(Self::Metal),
            (_, Some(Ok(number))) => Ok(Self::Cuda(number)),
            _ => Err(format!("`{text}` is no device: give \"auto\", \"cpu\", \"cuda:0\" or \"metal\"")),
        }
    }
}

impl Place {
    /// Whether the host's memory is what counts.
    pub fn is_host(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Auto => !cfg!(any(feature = "cuda", feature = "metal")),
            Self::Cuda(_) | Self::Metal => false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

/// The type that weights and activations have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub enum Precision {
    /// bf16 on a GPU, f32 on a CPU.
    #[default]
    Auto,
    F32,
    Bf16,
}

impl Precision {
    /// The type on a GPU, or on a CPU.
    pub fn dtype(self, gpu: bool) -> DType {
        match self {
            Self::Auto if gpu => DType::BF16,
            Self::Bf16 => DType::BF16,
            Self::Auto | Self::F32 => DType::F32,
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" | "float32" => Ok(Self::F32),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            "f16" | "float16" => {
                Err("T5's activations overflow in f16, and the loss is NaN from then on: give \"bf16\" or \"f32\"".into())
            }
            _ => Err(format!("`{text}` is no type to compute in: give \"auto\", \"f32\" or \"bf16\"")),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// Which kernels compute on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub enum KernelChoice {
    /// Our own where they have been verified on hardware, candle's operations elsewhere.
    #[default]
    Verified,
    /// Our own, verified or not.
    All,
    /// candle's operations alone.
    Composed,
}

impl FromStr for KernelChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "verified" => Ok(Self::Verified),
            "all" => Ok(Self::All),
            "composed" => Ok(Self::Composed),
            _ => Err(format!("`{text}` are no kernels: give \"verified\", \"all\" or \"composed\"")),
        }
    }
}

impl fmt::Display for KernelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verified => "verified",
            Self::All => "all",
            Self::Composed => "composed",
        })
    }
}

/// What a config may hold where a word is expected: a number is refused in our words.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text")]
enum Written {
    Word(String),
    Number(i64),
}

macro_rules! as_text {
    ($($type:ty),*) => { $(
        impl TryFrom<Written> for $type {
            type Error = String;
            fn try_from(written: Written) -> Result<Self, String> {
                match written {
                    Written::Word(text) => text.parse(),
                    Written::Number(number) => number.to_string().parse(),
                }
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )* };
}
as_text!(Place, Precision, KernelChoice);

/// Where and how a run computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComputeOptions {
    pub device: Place,
    pub dtype: Precision,
    /// Round the operands of f32 products to TF32, on a GPU.
    pub tf32: bool,
    pub kernels: KernelChoice,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_they_are_read() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3", "metal"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(Place::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            assert!(text.parse::<Place>().unwrap_err().contains("is no device"), "{text}");
        }
    }

    #[test]
    fn types_follow_the_device_unless_they_are_given() {
        assert_eq!(Precision::Auto.dtype(true), DType::BF16);
        assert_eq!(Precision::Auto.dtype(false), DType::F32);
        assert_eq!(Precision::F32.dtype(true), DType::F32);
        assert!("f16".parse::<Precision>().unwrap_err().contains("overflow"));
    }
}
