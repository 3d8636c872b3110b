//! The model card of an adapter's folder: README.md.

use super::BaseName;
use crate::Method;

/// How Python reads an adapter.
pub(crate) enum Python {
    /// By peft.
    Peft,
    /// By AdapterHub's library.
    Adapters,
    /// By hand, weights by their names.
    Weights,
    /// Not at all.
    Nothing,
}

pub(super) fn card(method: &Method, python: &Python, base: &BaseName, trainable: usize) -> String {
    let BaseName { name: base, revision } = base;
    let at = revision.as_ref().map_or(String::new(), |revision| format!(", revision=\"{revision}\""));
    let (library, tag) = match python {
        Python::Peft => ("peft", kind_of(method)),
        Python::Adapters => ("adapter-transformers", "adapter-transformers"),
        Python::Weights => ("transformers", kind_of(method)),
        Python::Nothing => ("tallow", kind_of(method)),
    };
    let load = format!("base = AutoModelForSeq2SeqLM.from_pretrained(\"{base}\"{at})\n");
    let python = match python {
        Python::Peft => format!(
            "from peft import PeftModel\nfrom transformers import AutoModelForSeq2SeqLM\n\n{load}\
             model = PeftModel.from_pretrained(base, \"path/to/this/folder\")\n"
        ),
        Python::Adapters => format!(
            "import adapters\nfrom transformers import AutoModelForSeq2SeqLM\n\n{load}adapters.init(base)\n\
             base.load_adapter(\"path/to/this/folder\", set_active=True, use_safetensors=True)\n"
        ),
        Python::Weights => format!(
            "from safetensors.torch import load_file\nfrom transformers import AutoModelForSeq2SeqLM\n\n{load}\
             # Parameters of the base by their names; biases are not part of T5 and are left out.\n\
             base.load_state_dict(load_file(\"path/to/this/folder/adapter_model.safetensors\"), strict=False)\n"
        ),
        Python::Nothing => "# Python's peft has prefixes in the decoder's self-attention alone.\n".to_owned(),
    };
    format!(
        "---\nbase_model: {base}\nlibrary_name: {library}\npipeline_tag: text2text-generation\ntags:\n- {tag}\n---\n\n\
         # Adapter for {base}\n\n\
         {method}: {trainable} trained parameters.\n\n\
         ```sh\n\
         tallow generate --adapter path/to/this/folder --prompt \"...\"\n\
         ```\n\n\
         ```python\n{python}```\n"
    )
}

fn kind_of(method: &Method) -> &'static str {
    match method {
        Method::Lora(_) => "lora",
        Method::Dora(_) => "dora",
        Method::Ia3(_) => "ia3",
        Method::Prompt(_) => "prompt-tuning",
        Method::Prefix(_) => "prefix-tuning",
        Method::Bottleneck(_) => "adapter",
        Method::Selective(_) | Method::Full(_) => "fine-tuned",
    }
}
