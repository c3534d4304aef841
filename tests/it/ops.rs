//! The harness: everything that is tested of every op, derived from its samples.
//!
//! Each check walks all samples and lists all failures, so that one run shows the whole state.

use chainrule::samples::{self, Array, Oracle, Sample};
use chainrule::{CheckOptions, DType, Device, Result, Slice, Tape, Tensor, Var, check_gradients, check_second_order};

use crate::devices::devices;

/// Runs `check` on every sample, or on those of the op that `CHAINRULE_OP` names, and reports every failure.
fn for_each_sample(what: &str, check: impl Fn(&Sample) -> std::result::Result<(), String>) {
    let samples = samples::all().expect("samples are well formed");
    let only = std::env::var("CHAINRULE_OP").ok();
    let checked = samples.iter().filter(|sample| !sample.is_bench);
    let failures: Vec<String> = checked
        .filter(|sample| only.as_deref().is_none_or(|only| sample.op == only))
        .filter_map(|sample| Some(format!("{} ({}): {}", sample.op, sample.case, check(sample).err()?)))
        .collect();
    assert!(failures.is_empty(), "{what}: {} failures\n{}", failures.len(), failures.join("\n"));
}

/// The inputs with floats cast to `dtype`, on `device`.
fn inputs_as(sample: &Sample, dtype: DType, device: &Device) -> Result<Vec<Tensor>> {
    let cast =
        |x: &Tensor| if x.dtype().is_float() { x.to_dtype(dtype)?.to_device(device) } else { x.to_device(device) };
    sample.inputs.iter().map(cast).collect()
}

fn call(sample: &Sample, inputs: &[Tensor]) -> std::result::Result<Tensor, String> {
    let vars: Vec<Var> = inputs.iter().map(Var::from).collect();
    (sample.call)(&vars).map(|y| y.detach()).map_err(|error| error.to_string())
}

fn array(x: &Tensor) -> Array {
    Array { shape: x.shape().to_vec(), data: x.to_f64_vec().expect("host tensors are readable") }
}

/// What the oracle gives for inputs of any dtype, computed in f64.
fn expected(oracle: &Oracle, inputs: &[Tensor]) -> std::result::Result<Array, String> {
    match oracle {
        Oracle::Plain(oracle) => Ok(oracle(&inputs.iter().map(array).collect::<Vec<_>>())),
        Oracle::Composed(oracle) => {
            let wide = |x: &Tensor| if x.dtype().is_float() { x.to_dtype(DType::F64) } else { Ok(x.clone()) };
            let vars = inputs.iter().map(|x| Ok(Var::from(wide(x)?))).collect::<Result<Vec<_>>>();
            let y = vars.and_then(|vars| oracle(&vars)).map_err(|error| format!("reference: {error}"))?;
            Ok(array(&y.detach()))
        }
    }
}

/// Compares with an absolute and relative tolerance of `epsilons` units of the dtype; NaN matches NaN only.
fn compare(got: &Tensor, expected: &Array, dtype: DType, epsilons: f64) -> std::result::Result<(), String> {
    if got.shape()[..] != expected.shape[..] {
        return Err(format!("shape {}, expected {:?}", got.shape(), expected.shape));
    }
    let tolerance = epsilons * dtype.epsilon();
    for (index, (got, want)) in array(got).data.into_iter().zip(&expected.data).enumerate() {
        let agrees =
            got == *want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance * (1.0 + want.abs());
        if !agrees {
            return Err(format!("element {index} is {got}, expected {want} (difference {:e})", (got - want).abs()));
        }
    }
    Ok(())
}

#[test]
fn forward_agrees_with_the_oracle_in_every_dtype() {
    for_each_sample("forward", |sample| {
        for &dtype in &sample.dtypes {
            let inputs = inputs_as(sample, dtype, &Device::Cpu).map_err(|error| error.to_string())?;
            let Some(oracle) = &sample.oracle else { continue };
            let want = expected(oracle, &inputs)?;
            let got = call(sample, &inputs).map_err(|error| format!("{dtype}: {error}"))?;
            compare(&got, &want, dtype, sample.tolerance).map_err(|error| format!("{dtype}: {error}"))?;
        }
        Ok(())
    });
}

#[test]
fn gradients_agree_with_finite_differences() {
    for_each_sample("gradients", |sample| {
        if !sample.has_gradient {
            return Ok(());
        }
        check_gradients(|x| (sample.call)(x), &sample.inputs, CheckOptions::default())
            .map_err(|error| error.to_string())
    });
}

#[test]
fn second_order_gradients_agree_with_finite_differences() {
    // Second derivatives are larger and their truncation error grows with the fourth: a tenth of the precision.
    let options = CheckOptions { tolerance: 1e-5, directions: 1, ..CheckOptions::default() };
    for_each_sample("second order", |sample| {
        if !sample.has_gradient {
            return Ok(());
        }
        check_second_order(|x| (sample.call)(x), &sample.inputs, options).map_err(|error| error.to_string())
    });
}

/// The gradients of `sum(y * cotangent)` with respect to every floating input, in the dtype of the inputs.
fn gradients(sample: &Sample, inputs: &[Tensor]) -> std::result::Result<Vec<Tensor>, String> {
    gradients_of(sample, inputs, |index| inputs[index].dtype().is_float())
}

/// As [`gradients`], with respect to some of the inputs.
fn gradients_of(
    sample: &Sample,
    inputs: &[Tensor],
    is_tracked: impl Fn(usize) -> bool,
) -> std::result::Result<Vec<Tensor>, String> {
    let run = || -> Result<Vec<Tensor>> {
        let tape = Tape::new();
        let leaf = |(index, x): (usize, &Tensor)| if is_tracked(index) { tape.leaf(x.clone()) } else { Var::from(x) };
        let leaves: Vec<Var> = inputs.iter().enumerate().map(leaf).collect();
        let y = (sample.call)(&leaves)?;
        let weights: Vec<f64> = (0..y.elements()).map(|i| (i as f64 * 0.7).sin()).collect();
        let weights = Tensor::from_vec(weights, y.shape(), &y.device())?.to_dtype(y.dtype())?;
        let grads = y.mul(&weights)?.sum(.., false)?.backward()?;
        leaves.iter().filter(|x| x.is_tracked()).map(|x| grads.get(x).cloned()).collect()
    };
    run().map_err(|error| error.to_string())
}

#[test]
fn gradients_in_every_dtype_agree_with_f64() {
    for_each_sample("gradients by dtype", |sample| {
        if !sample.has_gradient || sample.inputs.iter().all(|x| !x.dtype().is_float()) {
            return Ok(());
        }
        for &dtype in sample.dtypes.iter().filter(|&&dtype| dtype != DType::F64) {
            let inputs = inputs_as(sample, dtype, &Device::Cpu).map_err(|error| error.to_string())?;
            let wide = |x: &Tensor| if x.dtype().is_float() { x.to_dtype(DType::F64) } else { Ok(x.clone()) };
            let widened = inputs.iter().map(wide).collect::<Result<Vec<_>>>().map_err(|error| error.to_string())?;
            let (got, want) = (gradients(sample, &inputs)?, gradients(sample, &widened)?);
            for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                // The composed backwards of f16 and bf16 round between their steps: four times the forward's tolerance.
                compare(got, &array(want), dtype, 4.0 * sample.tolerance)
                    .map_err(|error| format!("{dtype}, gradient {index}: {error}"))?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_gradient_does_not_depend_on_which_other_inputs_are_tracked() {
    for_each_sample("tracked subsets", |sample| {
        let inputs = inputs_as(sample, sample.dtypes[0], &Device::Cpu).map_err(|error| error.to_string())?;
        let floats: Vec<usize> = (0..inputs.len()).filter(|&index| inputs[index].dtype().is_float()).collect();
        if !sample.has_gradient || floats.len() < 2 {
            return Ok(());
        }
        let all = gradients(sample, &inputs)?;
        for subset in 1..(1u32 << floats.len()) - 1 {
            let chosen: Vec<usize> = (0..floats.len()).filter(|&place| subset >> place & 1 == 1).collect();
            let got = gradients_of(sample, &inputs, |index| chosen.iter().any(|&place| floats[place] == index))?;
            for (&place, got) in chosen.iter().zip(got) {
                compare(&got, &array(&all[place]), sample.dtypes[0], sample.tolerance)
                    .map_err(|error| format!("gradient {place} of {chosen:?} alone: {error}"))?;
            }
        }
        Ok(())
    });
}

/// The same values in other layouts: transposed memory, every second element of a larger buffer walked backwards, and a
/// window in the middle of a larger buffer.
fn layouts(x: &Tensor) -> Result<Vec<(&'static str, Tensor)>> {
    let mut variants = Vec::new();
    if x.rank() >= 2 {
        variants.push(("transposed", x.transpose(0, -1)?.copy()?.transpose(0, -1)?));
    }
    if x.rank() >= 1 {
        let doubled = Tensor::stack(&[&x.flip(..)?, &x.flip(..)?], -1)?.flatten(-2, -1)?;
        let stepped = doubled.slice(-1, Slice::from(..).step(-2))?;
        let rest: Vec<isize> = (0..x.rank() as isize - 1).collect();
        variants.push(("stepped backwards", stepped.flip(rest)?));
        let padded = Tensor::cat(&[x, x, x], 0)?;
        variants.push(("offset", padded.narrow(0, x.shape()[0], x.shape()[0])?));
    }
    Ok(variants)
}

#[test]
fn every_layout_gives_the_same_result_and_gradients() {
    for_each_sample("layouts", |sample| {
        let base = inputs_as(sample, sample.dtypes[0], &Device::Cpu).map_err(|error| error.to_string())?;
        let want = call(sample, &base)?;
        let want_grads = if sample.has_gradient { gradients(sample, &base)? } else { Vec::new() };
        for index in 0..base.len() {
            for (layout, variant) in layouts(&base[index]).map_err(|error| error.to_string())? {
                let mut inputs = base.clone();
                inputs[index] = variant;
                let explain = |error: String| format!("input {index} {layout}: {error}");
                // Another layout may sum in another order, so a few roundings are allowed.
                let check =
                    |got: &Tensor, want: &Tensor| compare(got, &array(want), sample.dtypes[0], sample.tolerance);
                check(&call(sample, &inputs).map_err(explain)?, &want).map_err(explain)?;
                if sample.has_gradient {
                    for (got, want) in gradients(sample, &inputs).map_err(explain)?.iter().zip(&want_grads) {
                        check(got, want).map_err(|error| explain(format!("gradient: {error}")))?;
                    }
                }
            }
        }
        Ok(())
    });
}

#[test]
fn expanded_inputs_equal_their_copies() {
    for_each_sample("expanded", |sample| {
        let base = inputs_as(sample, sample.dtypes[0], &Device::Cpu).map_err(|error| error.to_string())?;
        for index in (0..base.len()).filter(|&index| base[index].rank() > 0 && base[index].elements() > 0) {
            let x = &base[index];
            let expanded =
                x.narrow(0, 0, 1).and_then(|row| row.expand(x.shape())).map_err(|error| error.to_string())?;
            let (mut viewed, mut copied) = (base.clone(), base.clone());
            copied[index] = expanded.copy().map_err(|error| error.to_string())?;
            viewed[index] = expanded;
            let explain = |error: String| format!("input {index} expanded: {error}");
            match (call(sample, &viewed), call(sample, &copied)) {
                (Ok(got), Ok(want)) => {
                    compare(&got, &array(&want), sample.dtypes[0], sample.tolerance).map_err(explain)?
                }
                (Err(_), Err(_)) => {}
                (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(explain(error)),
            }
        }
        Ok(())
    });
}

#[test]
fn results_have_the_same_bits_every_time_and_on_every_number_of_threads() {
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    for_each_sample("determinism", |sample| {
        let inputs = inputs_as(sample, sample.dtypes[0], &Device::Cpu).map_err(|error| error.to_string())?;
        let run = || -> std::result::Result<Vec<u8>, String> {
            let mut bytes = call(sample, &inputs)?.to_bytes().map_err(|error| error.to_string())?;
            if sample.has_gradient {
                for grad in gradients(sample, &inputs)? {
                    bytes.extend(grad.to_bytes().map_err(|error| error.to_string())?);
                }
            }
            Ok(bytes)
        };
        let first = run()?;
        if run()? != first {
            return Err("two runs differ".into());
        }
        if one_thread.install(run)? != first {
            return Err("one thread and several differ".into());
        }
        Ok(())
    });
}

#[test]
fn every_device_agrees_with_the_host() {
    for device in devices() {
        for_each_sample(&format!("{device}"), |sample| {
            for &dtype in &sample.dtypes {
                let explain = |error: String| format!("{dtype}: {error}");
                let run = |device: &Device| -> std::result::Result<Vec<Tensor>, String> {
                    let inputs = inputs_as(sample, dtype, device).map_err(|error| error.to_string())?;
                    let mut results = vec![call(sample, &inputs)?];
                    if sample.has_gradient {
                        results.extend(gradients(sample, &inputs)?);
                    }
                    Ok(results)
                };
                let (got, want) = (run(&device).map_err(explain)?, run(&Device::Cpu).map_err(explain)?);
                for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                    // Both sides round, and backwards of f16 and bf16 round between their steps.
                    compare(got, &array(want), dtype, 4.0 * sample.tolerance)
                        .map_err(|error| explain(format!("result {index}: {error}")))?;
                }
            }
            Ok(())
        });
    }
}

#[test]
fn every_device_refuses_bad_input_as_the_host_does() {
    for device in devices() {
        errors_are_as_the_samples_say(&device);
    }
}

#[test]
fn bad_input_gives_the_error_that_the_samples_say() {
    errors_are_as_the_samples_say(&Device::Cpu);
}

fn errors_are_as_the_samples_say(device: &Device) {
    let failures: Vec<String> = samples::errors()
        .expect("samples are well formed")
        .iter()
        .filter_map(|sample| {
            let inputs = sample.inputs.iter().map(|x| x.to_device(device)).collect::<Result<Vec<_>>>();
            let vars: Vec<Var> = inputs.expect("samples fit the device").iter().map(Var::from).collect();
            let got = match (sample.call)(&vars) {
                Ok(y) => format!("a result of shape {}", y.shape()),
                Err(error) if error.to_string().contains(sample.message) => return None,
                Err(error) => format!("{error}"),
            };
            Some(format!("{}: got {got:?}, expected an error with {:?}", sample.op, sample.message))
        })
        .collect();
    assert!(failures.is_empty(), "{device}: {} failures\n{}", failures.len(), failures.join("\n"));
}
