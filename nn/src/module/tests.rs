use std::marker::PhantomData;

use chainrule_autograd::{Param, Tape, Var};
use chainrule_tensor::{DType, Device, Result, Rng, Tensor};

use crate::{Linear, LoadOptions, Module};

fn param(values: &[f32]) -> Param {
    Param::new(Tensor::from_slice(values, [values.len()], &Device::Cpu).unwrap())
}

fn names(model: &impl Module) -> Vec<String> {
    model.named_parameters().into_iter().map(|(name, _)| name).collect()
}

#[derive(Clone, Module)]
struct Leaf {
    weight: Param,
    count: usize,
}

fn leaf(values: &[f32]) -> Leaf {
    Leaf { weight: param(values), count: values.len() }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    Fast,
}

/// Every kind of field.
#[derive(Clone, Module)]
struct Everything<M, T: Clone> {
    inner: M,
    list: Vec<Leaf>,
    pair: [Leaf; 2],
    maybe: Option<Leaf>,
    none: Option<Leaf>,
    boxed: Box<Leaf>,
    #[module(rename = "other")]
    renamed: Leaf,
    #[module(freeze)]
    fixed: Leaf,
    #[module(skip)]
    hidden: Leaf,
    table: Tensor,
    r#type: Param,
    mode: Mode,
    rate: f64,
    sizes: Vec<usize>,
    name: String,
    limit: Option<u32>,
    function: fn(f32) -> f32,
    marker: PhantomData<T>,
}

fn everything() -> Everything<Leaf, String> {
    Everything {
        inner: leaf(&[1.0]),
        list: vec![leaf(&[2.0]), leaf(&[3.0])],
        pair: [leaf(&[4.0]), leaf(&[5.0])],
        maybe: Some(leaf(&[6.0])),
        none: None,
        boxed: Box::new(leaf(&[7.0])),
        renamed: leaf(&[8.0]),
        fixed: leaf(&[9.0]),
        hidden: leaf(&[10.0]),
        table: Tensor::from_vec(vec![1.5f32], [1], &Device::Cpu).unwrap(),
        r#type: param(&[11.0]),
        mode: Mode::Fast,
        rate: 0.5,
        sizes: vec![1],
        name: "x".into(),
        limit: None,
        function: f32::sqrt,
        marker: PhantomData,
    }
}

#[test]
fn fields_of_every_kind() {
    let model = everything();
    let expected = [
        "inner.weight",
        "list.0.weight",
        "list.1.weight",
        "pair.0.weight",
        "pair.1.weight",
        "maybe.weight",
        "boxed.weight",
        "other.weight",
        "fixed.weight",
        "type",
    ];
    assert_eq!(names(&model), expected);
    assert_eq!(model.parameter_count(), 10);
    let on_tape = model.on(&Tape::new());
    assert!(on_tape.inner.weight.is_tracked() && on_tape.pair[1].weight.is_tracked());
    assert!(!on_tape.fixed.weight.is_tracked() && !on_tape.hidden.weight.is_tracked());
    assert_eq!(on_tape.list[1].weight.name(), Some("list.1.weight"));
    let half = model.to_dtype(DType::F16).unwrap();
    assert_eq!((half.table.dtype(), half.fixed.weight.dtype()), (DType::F16, DType::F16));
    assert_eq!(half.hidden.weight.dtype(), DType::F32);
    assert_eq!((half.mode, half.rate, half.sizes.len(), half.name.as_str()), (Mode::Fast, 0.5, 1, "x"));
    assert_eq!(((half.function)(4.0), half.limit, half.none.is_none(), half.inner.count), (2.0, None, true, 1));
}

#[derive(Clone, Module)]
struct Tuple(Leaf, Leaf);

#[derive(Clone, Module)]
struct Empty;

#[test]
fn tuples_and_units() {
    assert_eq!(names(&Tuple(leaf(&[1.0]), leaf(&[2.0]))), ["0.weight", "1.weight"]);
    assert!(names(&Empty).is_empty());
    assert!(Empty.summary().to_string().contains("0 parameters"));
}

#[derive(Clone, Module)]
struct Tied {
    first: Linear,
    second: Linear,
}

fn tied() -> Tied {
    let first = Linear::new(2, 2, &mut Rng::seed(1)).unwrap();
    Tied { second: Linear { weight: first.weight.clone(), bias: None }, first }
}

#[test]
fn tied_parameters_stay_tied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tied.safetensors");
    let model = tied().to_dtype(DType::F64).unwrap();
    assert_eq!(names(&model), ["first.weight", "first.bias"]);
    assert!(model.first.weight.tensor().shares_buffer(model.second.weight.tensor()));
    assert_eq!(model.summary().trainable, 6);
    assert!(model.summary().to_string().contains("weight [2, 2] tied"), "{}", model.summary());

    model.save(&path).unwrap();
    let mut other = tied();
    other.load(&path).unwrap();
    assert_eq!(other.first.weight.dtype(), DType::F32);
    assert!(other.first.weight.tensor().shares_buffer(other.second.weight.tensor()));

    // A file may hold both names, as PyTorch's do, if they agree.
    let weight = model.first.weight.tensor().clone();
    let both = |second: Tensor| -> Result<()> {
        let bias = model.first.bias.as_ref().unwrap().tensor().clone();
        let tensors =
            [("first.weight".into(), weight.clone()), ("second.weight".into(), second), ("first.bias".into(), bias)];
        chainrule_tensor::io::save_tensors(&path, &tensors, &Default::default())?;
        tied().load(&path)
    };
    both(weight.clone()).unwrap();
    let error = both(weight.zeros_like().unwrap()).unwrap_err();
    assert!(error.to_string().contains("second.weight: tied to first.weight"), "{error}");
}

#[test]
fn loading_reports_everything_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.safetensors");
    let vector = |n| Tensor::from_vec(vec![0.0f32; n], [n], &Device::Cpu).unwrap();
    let tensors = [("first.weight".into(), vector(3)), ("first.bias".into(), vector(2)), ("extra".into(), vector(1))];
    chainrule_tensor::io::save_tensors(&path, &tensors, &Default::default()).unwrap();
    let mut model = Tied {
        second: Linear::new(2, 2, &mut Rng::seed(3)).unwrap(),
        first: Linear::new(2, 2, &mut Rng::seed(2)).unwrap(),
    };
    let bias = |model: &Tied| model.first.bias.as_ref().unwrap().to_vec::<f32>().unwrap();
    let before = bias(&model);
    let error = model.load(&path).unwrap_err().to_string();
    for line in [
        "missing     second.weight [2, 2]",
        "missing     second.bias [2]",
        "unexpected  extra",
        "mismatched  first.weight: the file has shape [3], the model [2, 2]",
    ] {
        assert!(error.contains(line), "{line:?} in {error}");
    }
    assert_eq!(bias(&model), before);
    let options =
        LoadOptions::default().allow_missing("second.").allow_unexpected("extra").rename("first.weight", "extra.w");
    let error = model.load_with(&path, &options).unwrap_err().to_string();
    assert!(error.contains("missing     first.weight") && !error.contains("second"), "{error}");
    model.load_with(&path, &options.allow_missing("first.weight")).unwrap();
    assert_eq!(bias(&model), [0.0, 0.0]);
}

#[test]
fn loading_renames_and_transposes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.safetensors");
    let matrix = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2], &Device::Cpu).unwrap();
    chainrule_tensor::io::save_tensors(&path, &[("c_attn.w".into(), matrix)], &Default::default()).unwrap();
    let mut model = Linear::without_bias(2, 2, &mut Rng::seed(1)).unwrap();
    model.load_with(&path, &LoadOptions::default().rename("c_attn.w", "weight").transpose("weight")).unwrap();
    assert_eq!(model.weight.to_vec::<f32>().unwrap(), [1.0, 3.0, 2.0, 4.0]);
}

#[test]
fn freezing_by_prefix() {
    let mut model = everything();
    model.freeze("list").unwrap();
    let on_tape = model.on(&Tape::new());
    assert!(!on_tape.list[0].weight.is_tracked() && on_tape.inner.weight.is_tracked());
    assert_eq!((model.summary().trainable, model.summary().frozen), (7, 3));
    model.unfreeze("list.1").unwrap();
    assert!(model.on(&Tape::new()).list[1].weight.is_tracked());
    let error = model.freeze("lis").unwrap_err();
    assert!(error.to_string().contains("no parameter's name starts with \"lis\""), "{error}");
}

#[test]
fn errors_carry_the_path_of_the_module() {
    let model = tied();
    let x = Var::from(Tensor::from_vec(vec![0.0f32; 3], [1, 3], &Device::Cpu).unwrap());
    let error = model.on(&Tape::new()).second.forward(&x).unwrap_err();
    // The tied weight is one leaf, known by its first name.
    assert!(error.to_string().contains("in second") || error.to_string().contains("in first"), "{error}");
}
