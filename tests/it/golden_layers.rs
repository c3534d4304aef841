//! Layers with parameters against PyTorch's modules: values, and the gradients of inputs and of every parameter.

use std::collections::HashMap;

use chainrule::nn::layers::{Attend, MultiHeadConfig};
use chainrule::prelude::*;

use crate::golden_losses::{BOTH, check, check_layer};
use crate::golden_optimizers::golden;

/// The names that every case of multi-head attention has, which are those of a state dict.
const PARAMETERS: [&str; 4] = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"];

/// The layer with `variables` as its parameters, in the order of [`PARAMETERS`].
fn layer(variables: &[Var]) -> Result<MultiHeadAttention> {
    let mut layer = MultiHeadAttention::new(MultiHeadConfig::new(8, 2), &mut Rng::seed(0))?;
    let names: Vec<String> = layer.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, PARAMETERS);
    layer.in_proj_weight.set_var(variables[0].clone());
    layer.out_proj.weight.set_var(variables[2].clone());
    for (bias, variable) in [(&mut layer.in_proj_bias, &variables[1]), (&mut layer.out_proj.bias, &variables[3])] {
        bias.as_mut().expect("a layer with biases").set_var(variable.clone());
    }
    Ok(layer)
}

/// Checks `forward` on the layer of a case and its inputs, of which `names` are the sequences.
fn check_case(
    golden: &HashMap<String, Tensor>,
    case: &str,
    names: &[&'static str],
    forward: impl Fn(&MultiHeadAttention, &[Var]) -> Result<Var>,
) {
    let case = format!("multihead_attention.{case}");
    let names = names.iter().chain(&PARAMETERS);
    let inputs: Vec<(&str, &Tensor)> = names.map(|&name| (name, &golden[&format!("{case}.{name}")])).collect();
    for &precision in BOTH {
        check(golden, &case, &inputs, precision, |x| {
            let (sequences, parameters) = x.split_at(x.len() - PARAMETERS.len());
            forward(&layer(parameters)?, sequences)
        });
    }
}

#[test]
fn multi_head_attention() {
    let golden = golden("layers");
    check_case(&golden, "self", &["x"], |layer, x| layer.forward(&x[0], &Attend::default()));
    check_case(&golden, "causal", &["x"], |layer, x| layer.forward(&x[0], &Attend::causal()));
    for (case, is_causal) in [("key_padding", false), ("causal_key_padding", true)] {
        let key_padding = Some(&golden[&format!("multihead_attention.{case}.mask")]);
        let attend = Attend { is_causal, key_padding, ..Attend::default() };
        check_case(&golden, case, &["x"], |layer, x| layer.forward(&x[0], &attend));
    }
    check_case(&golden, "cross", &["x", "memory"], |layer, x| layer.forward_cross(&x[0], &x[1], &Attend::default()));
    // The same sequence twice, through three projections instead of one.
    check_case(&golden, "self", &["x"], |layer, x| layer.forward_cross(&x[0], &x[0], &Attend::default()));
}

#[test]
fn embedding() {
    let golden = golden("layers");
    for (case, padding_idx) in [("embedding", None), ("embedding_padding", Some(2))] {
        let ids = &golden[&format!("{case}.ids")];
        let layer = Embedding { padding_idx, ..Embedding::new(7, 4, &mut Rng::seed(0)).unwrap() };
        // Rows are copied and at most three are added: exact but for one rounding or two.
        for precision in [(DType::F64, 1e-15), (DType::F32, 4e-7)] {
            check(&golden, case, &[("weight", &golden[&format!("{case}.weight")])], precision, |x| {
                let mut layer = layer.clone();
                layer.weight.set_var(x[0].clone());
                layer.forward(ids)
            });
        }
    }
}

#[test]
fn linear() {
    let golden = golden("layers");
    let forward = |x: &[Var]| {
        let mut layer = Linear::without_bias(5, 4, &mut Rng::seed(0))?;
        layer.weight.set_var(x[1].clone());
        if let Some(bias) = x.get(2) {
            let mut param = Param::new(bias.detach());
            param.set_var(bias.clone());
            layer.bias = Some(param);
        }
        layer.forward(&x[0])
    };
    check_layer(&golden, "linear", BOTH, forward);
    check_layer(&golden, "linear_no_bias", BOTH, forward);
}

/// A linear layer of these parameters.
fn linear_of(weight: &Var, bias: Option<&Var>) -> Result<Linear> {
    let [width_out, width_in] = weight.dims()?;
    let mut layer = Linear::without_bias(width_in, width_out, &mut Rng::seed(0))?;
    layer.weight.set_var(weight.clone());
    layer.bias = bias.map(|bias| {
        let mut param = Param::new(bias.detach());
        param.set_var(bias.clone());
        param
    });
    Ok(layer)
}

/// Steps of an LSTM over `x [B, T, I]` from the states `h` and `c`, with the parameters `weight_ih`, `weight_hh` and
/// perhaps `bias_ih`, `bias_hh`: the last states side by side. Where `is_split`, the cell adds the two products.
fn lstm_steps(x: &Var, mut states: (Var, Var), parameters: &[Var], is_split: bool) -> Result<Var> {
    let ih = linear_of(&parameters[0], parameters.get(2))?;
    let hh = linear_of(&parameters[1], parameters.get(3))?;
    for step in 0..x.size(1)? {
        let (gates_x, gates_h) = (ih.forward(&x.select(1, step as isize)?)?, hh.forward(&states.0)?);
        states = match is_split {
            true => gates_x.lstm_cell(&states.1, Some(&gates_h))?,
            false => gates_x.add(&gates_h)?.lstm_cell(&states.1, None)?,
        };
    }
    Var::cat(&[&states.0, &states.1], -1)
}

#[test]
fn lstm_cell() {
    let golden = golden("layers");
    for (case, n_states) in [("one_step", 2), ("no_bias", 2), ("three_steps", 0)] {
        let case = format!("lstm_cell.{case}");
        let names = ["x", "h", "c", "weight_ih", "weight_hh", "bias_ih", "bias_hh"];
        let inputs: Vec<_> =
            names.into_iter().filter_map(|name| Some((name, golden.get(&format!("{case}.{name}"))?))).collect();
        for (&precision, is_split) in BOTH.iter().flat_map(|precision| [(precision, false), (precision, true)]) {
            check(&golden, &case, &inputs, precision, |x| {
                let (states, parameters) = x[1..].split_at(n_states);
                match states {
                    [h, c] => lstm_steps(&x[0].unsqueeze(1)?, (h.clone(), c.clone()), parameters, is_split),
                    _ => {
                        let zeros = Var::from(Tensor::zeros([4, 3], x[0].dtype(), &x[0].device())?);
                        lstm_steps(&x[0], (zeros.clone(), zeros), parameters, is_split)
                    }
                }
            });
        }
    }
}
