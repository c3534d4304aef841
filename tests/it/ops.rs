//! The harness: everything that is tested of every op, derived from its samples.
//!
//! Each check walks all samples and lists all failures, so that one run shows the whole state.

use chainrule::samples::{self, Array, Checked, Oracle, Sample, compare, layouts};
use chainrule::{CheckOptions, DType, Device, Error, Result, Tensor, Var, check_gradients, check_second_order};

use crate::devices::devices;

/// Runs `check` on every sample, or on those of the op that `CHAINRULE_OP` names, and reports every failure.
fn for_each_sample(what: &str, check: impl Fn(&Sample) -> Checked<()>) {
    let samples = samples::all().expect("samples are well formed");
    let only = std::env::var("CHAINRULE_OP").ok();
    let checked = samples.iter().filter(|sample| !sample.is_bench);
    let failures: Vec<String> = checked
        .filter(|sample| only.as_deref().is_none_or(|only| sample.op == only))
        .filter_map(|sample| Some(format!("{} ({}): {}", sample.op, sample.case, check(sample).err()?)))
        .collect();
    assert!(failures.is_empty(), "{what}: {} failures\n{}", failures.len(), failures.join("\n"));
}

/// The inputs with floats cast to `dtype`.
fn inputs(sample: &Sample, dtype: DType) -> Checked<Vec<Tensor>> {
    sample.inputs_as(dtype, &Device::Cpu).map_err(|error| error.to_string())
}

/// What the oracle gives for inputs of any dtype, computed in f64.
fn expected(oracle: &Oracle, inputs: &[Tensor]) -> Checked<Array> {
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

fn array(x: &Tensor) -> Array {
    Array::of(x).expect("host tensors are readable")
}

#[test]
fn forward_agrees_with_the_oracle_in_every_dtype() {
    for_each_sample("forward", |sample| {
        for &dtype in &sample.dtypes {
            let inputs = inputs(sample, dtype)?;
            let Some(oracle) = &sample.oracle else { continue };
            let want = expected(oracle, &inputs)?;
            let got = sample.result(&inputs).map_err(|error| format!("{dtype}: {error}"))?;
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

#[test]
fn gradients_in_every_dtype_agree_with_f64() {
    for_each_sample("gradients by dtype", |sample| {
        if !sample.has_gradient || sample.inputs.iter().all(|x| !x.dtype().is_float()) {
            return Ok(());
        }
        for &dtype in sample.dtypes.iter().filter(|&&dtype| dtype != DType::F64) {
            let inputs = inputs(sample, dtype)?;
            let wide = |x: &Tensor| if x.dtype().is_float() { x.to_dtype(DType::F64) } else { Ok(x.clone()) };
            let widened = inputs.iter().map(wide).collect::<Result<Vec<_>>>().map_err(|error| error.to_string())?;
            let (got, want) = (sample.gradients(&inputs)?, sample.gradients(&widened)?);
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
        let inputs = inputs(sample, sample.dtypes[0])?;
        let floats: Vec<usize> = (0..inputs.len()).filter(|&index| inputs[index].dtype().is_float()).collect();
        if !sample.has_gradient || floats.len() < 2 {
            return Ok(());
        }
        let all = sample.gradients(&inputs)?;
        for subset in 1..(1u32 << floats.len()) - 1 {
            let chosen: Vec<usize> = (0..floats.len()).filter(|&place| subset >> place & 1 == 1).collect();
            let got = sample.gradients_of(&inputs, |index| chosen.iter().any(|&place| floats[place] == index))?;
            for (&place, got) in chosen.iter().zip(got) {
                compare(&got, &array(&all[place]), sample.dtypes[0], sample.tolerance)
                    .map_err(|error| format!("gradient {place} of {chosen:?} alone: {error}"))?;
            }
        }
        Ok(())
    });
}

#[test]
fn every_layout_gives_the_same_result_and_gradients() {
    for_each_sample("layouts", |sample| {
        let base = inputs(sample, sample.dtypes[0])?;
        let want = sample.result(&base)?;
        let want_grads = if sample.has_gradient { sample.gradients(&base)? } else { Vec::new() };
        for index in 0..base.len() {
            for (layout, variant) in layouts(&base[index]).map_err(|error| error.to_string())? {
                let mut inputs = base.clone();
                inputs[index] = variant;
                let explain = |error: String| format!("input {index} {layout}: {error}");
                // Another layout may sum in another order, so a few roundings are allowed.
                let check =
                    |got: &Tensor, want: &Tensor| compare(got, &array(want), sample.dtypes[0], sample.tolerance);
                check(&sample.result(&inputs).map_err(explain)?, &want).map_err(explain)?;
                if sample.has_gradient {
                    for (got, want) in sample.gradients(&inputs).map_err(explain)?.iter().zip(&want_grads) {
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
        let base = inputs(sample, sample.dtypes[0])?;
        for index in (0..base.len()).filter(|&index| base[index].rank() > 0 && base[index].elements() > 0) {
            let x = &base[index];
            let expanded =
                x.narrow(0, 0, 1).and_then(|row| row.expand(x.shape())).map_err(|error| error.to_string())?;
            let (mut viewed, mut copied) = (base.clone(), base.clone());
            copied[index] = expanded.copy().map_err(|error| error.to_string())?;
            viewed[index] = expanded;
            let explain = |error: String| format!("input {index} expanded: {error}");
            match (sample.result(&viewed), sample.result(&copied)) {
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

/// The bytes of the result and of all gradients.
fn bytes(sample: &Sample, inputs: &[Tensor]) -> Checked<Vec<u8>> {
    let text = |error: Error| error.to_string();
    let mut bytes = sample.result(inputs)?.to_bytes().map_err(text)?;
    if sample.has_gradient {
        for grad in sample.gradients(inputs)? {
            bytes.extend(grad.to_bytes().map_err(text)?);
        }
    }
    Ok(bytes)
}

#[test]
fn results_have_the_same_bits_every_time_and_on_every_number_of_threads() {
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    for_each_sample("determinism", |sample| {
        let inputs = inputs(sample, sample.dtypes[0])?;
        let first = bytes(sample, &inputs)?;
        if bytes(sample, &inputs)? != first {
            return Err("two runs differ".into());
        }
        if one_thread.install(|| bytes(sample, &inputs))? != first {
            return Err("one thread and several differ".into());
        }
        Ok(())
    });
}

#[test]
fn results_have_the_same_bits_every_time_on_every_device() {
    for device in devices() {
        for_each_sample(&format!("determinism on {device}"), |sample| {
            sample.dtypes.iter().filter(|&&dtype| sample.exists_on(&device, dtype)).try_for_each(|&dtype| {
                let inputs = sample.inputs_as(dtype, &device).map_err(|error| error.to_string())?;
                let first = bytes(sample, &inputs)?;
                // A result that is held makes the second run work in other memory than the first.
                let _held = sample.result(&inputs)?;
                let is_same = bytes(sample, &inputs)? == first;
                if is_same { Ok(()) } else { Err(format!("{dtype}: two runs differ")) }
            })
        });
    }
}

#[test]
fn every_device_agrees_with_the_host() {
    for device in devices() {
        for_each_sample(&format!("{device}"), |sample| {
            sample.dtypes.iter().filter(|&&dtype| sample.exists_on(&device, dtype)).try_for_each(|&dtype| {
                sample.agrees_with_host(dtype, &device).map_err(|error| format!("{dtype}: {error}"))
            })
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
    let samples = samples::errors().expect("samples are well formed");
    let failures: Vec<String> = samples
        .iter()
        .filter(|s| s.exists_on(device))
        .filter_map(|s| Some(format!("{}: {}", s.op, s.fails_on(device).err()?)))
        .collect();
    assert!(failures.is_empty(), "{device}: {} failures\n{}", failures.len(), failures.join("\n"));
}
