use tallow_data::BatchSize;
use tallow_train::{Auto, BatchTokens, TrainingOptions};

fn problems(options: &TrainingOptions) -> Vec<String> {
    options.problems().into_iter().map(|(key, what)| format!("{key}: {what}")).collect()
}

fn sound() -> TrainingOptions {
    TrainingOptions { steps: Some(10), ..Default::default() }
}

#[test]
fn every_problem_is_found_at_once() {
    assert_eq!(problems(&sound()), Vec::<String>::new());
    assert_eq!(problems(&TrainingOptions::default()), ["steps: neither steps nor epochs is given"]);
    let options = TrainingOptions {
        steps: Some(0),
        epochs: Some(0),
        batch_size: Some(0),
        batch_tokens: Some(BatchTokens::Tokens(0)),
        accumulation: 0,
        learning_rate: 0.0,
        weight_decay: -0.1,
        beta1: 1.0,
        beta2: -0.5,
        epsilon: f64::NAN,
        max_grad_norm: -1.0,
        label_smoothing: 1.0,
        dropout: Some(1.5),
        keep_checkpoints: 0,
        ..Default::default()
    };
    assert_eq!(
        problems(&options),
        [
            "epochs: steps is given too: keep one of them",
            "steps: must be at least 1",
            "epochs: must be at least 1",
            "batch_tokens: batch_size is given too: keep one of them",
            "batch_size: must be at least 1",
            "batch_tokens: must be at least 1",
            "accumulation: must be at least 1",
            "learning_rate: must be a positive number",
            "weight_decay: must not be negative",
            "beta1: must lie in [0, 1)",
            "beta2: must lie in [0, 1)",
            "epsilon: must be a positive number",
            "max_grad_norm: must not be negative; 0 leaves the gradient",
            "label_smoothing: must lie in [0, 1)",
            "dropout: must lie in [0, 1)",
            "keep_checkpoints: must be at least 1",
            "warmup_steps: 0 of 0 steps leave none after the warm-up: give fewer",
        ]
    );
}

#[test]
fn not_a_number_is_a_problem_everywhere() {
    type Set = fn(&mut TrainingOptions);
    let fields: [(&str, Set); 8] = [
        ("learning_rate", |options| options.learning_rate = f64::NAN),
        ("weight_decay", |options| options.weight_decay = f64::NAN),
        ("beta1", |options| options.beta1 = f64::NAN),
        ("beta2", |options| options.beta2 = f64::NAN),
        ("epsilon", |options| options.epsilon = f64::NAN),
        ("max_grad_norm", |options| options.max_grad_norm = f64::NAN),
        ("label_smoothing", |options| options.label_smoothing = f64::NAN),
        ("dropout", |options| options.dropout = Some(f64::NAN)),
    ];
    for (key, set) in fields {
        let mut options = sound();
        set(&mut options);
        let found: Vec<&str> = options.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, [key]);
    }
}

#[test]
fn a_warm_up_must_leave_a_step() {
    assert!(problems(&TrainingOptions { warmup_steps: 9, ..sound() }).is_empty());
    let found = problems(&TrainingOptions { warmup_steps: 10, ..sound() });
    assert_eq!(found, ["warmup_steps: 10 of 10 steps leave none after the warm-up: give fewer"]);
}

#[test]
fn steps_of_epochs() {
    let total = |options: &TrainingOptions, rows: usize| {
        let batches = options.batches(vec![(10, 5); rows], 1).unwrap();
        options.total_steps(&batches)
    };
    let epochs = |epochs, batch_size, accumulation| {
        let (epochs, batch_size) = (Some(epochs), Some(batch_size));
        TrainingOptions { epochs, batch_size, accumulation, ..Default::default() }
    };
    assert_eq!(total(&epochs(1, 4, 1), 10), 3);
    assert_eq!(total(&epochs(3, 4, 1), 10), 9);
    // 9 batches, 2 to a step.
    assert_eq!(total(&epochs(3, 4, 2), 10), 5);
    assert_eq!(total(&epochs(1, 4, 100), 10), 1);
    let by_tokens = TrainingOptions {
        batch_tokens: Some(BatchTokens::Tokens(30)),
        epochs: Some(2),
        ..Default::default()
    };
    assert_eq!(total(&by_tokens, 10), 10);
    assert_eq!(total(&TrainingOptions { accumulation: 3, ..sound() }, 10), 10);
}

#[test]
fn batches_have_rows_or_tokens() {
    assert_eq!(sound().batch(), Some(BatchSize::Rows(8)));
    assert_eq!(TrainingOptions { batch_size: Some(3), ..sound() }.batch(), Some(BatchSize::Rows(3)));
    assert_eq!(
        TrainingOptions { batch_tokens: Some(BatchTokens::Tokens(300)), ..sound() }.batch(),
        Some(BatchSize::Tokens(300))
    );
    let open = TrainingOptions { batch_tokens: Some(BatchTokens::Auto(Auto::Auto)), ..sound() };
    assert_eq!(open.batch(), None);
    let error = open.batches(vec![(1, 1)], 0).unwrap_err().to_string();
    assert_eq!(error, "batch_tokens is \"auto\", and it has not been tried yet how many fit");
}

#[test]
fn unknown_keys_are_refused() {
    let found =
        serde_json::from_str::<TrainingOptions>(r#"{ "learning_rat": 1.0 }"#).unwrap_err().to_string();
    assert!(found.starts_with("unknown field `learning_rat`, expected one of `steps`, `epochs`"), "{found}");
    let text = serde_json::to_string(&sound()).unwrap();
    assert_eq!(serde_json::from_str::<TrainingOptions>(&text).unwrap(), sound());
}
