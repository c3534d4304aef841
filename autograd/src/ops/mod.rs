//! One rule for each op, by family, with the op's samples beside it.

mod activation;
mod arithmetic;
mod attention;
#[cfg(feature = "samples")]
mod attention_samples;
mod binary_cross_entropy;
mod compare;
mod cross_entropy;
mod dropout;
mod einsum;
mod elementwise;
#[cfg(feature = "samples")]
mod elementwise_samples;
mod index;
#[cfg(feature = "samples")]
mod index_samples;
mod joining;
mod linear;
#[cfg(feature = "samples")]
mod linear_samples;
mod loss;
#[cfg(feature = "samples")]
mod loss_samples;
mod lstm_cell;
mod math;
mod matmul;
#[cfg(feature = "samples")]
mod matmul_samples;
mod movement;
#[cfg(feature = "samples")]
mod movement_samples;
mod nll_loss;
mod norm;
#[cfg(feature = "samples")]
mod norm_samples;
mod reduce;
#[cfg(feature = "samples")]
mod reduce_samples;
mod rope;
mod scan;
mod softmax;
mod sort;
mod statistics;
mod trigonometry;

pub use attention::Attention;
pub use binary_cross_entropy::BinaryCrossEntropy;
pub use elementwise::VarArg;

#[cfg(feature = "samples")]
pub(crate) fn samples() -> chainrule_tensor::Result<Vec<crate::samples::Sample>> {
    let families = [
        elementwise_samples::samples,
        movement_samples::samples,
        joining::samples,
        einsum::samples,
        rope::samples,
        matmul_samples::samples,
        linear_samples::samples,
        attention_samples::samples,
        softmax::samples,
        norm_samples::samples,
        lstm_cell::samples,
        cross_entropy::samples,
        loss_samples::samples,
        index_samples::samples,
        scan::samples,
        reduce_samples::samples,
    ];
    Ok(families.into_iter().map(|family| family()).collect::<chainrule_tensor::Result<Vec<_>>>()?.concat())
}

#[cfg(feature = "samples")]
pub(crate) fn error_samples() -> chainrule_tensor::Result<Vec<crate::samples::ErrorSample>> {
    let families = [
        elementwise_samples::error_samples,
        movement_samples::error_samples,
        joining::error_samples,
        einsum::error_samples,
        rope::error_samples,
        matmul_samples::error_samples,
        linear_samples::error_samples,
        attention_samples::error_samples,
        softmax::error_samples,
        norm_samples::error_samples,
        lstm_cell::error_samples,
        cross_entropy::error_samples,
        loss_samples::error_samples,
        index_samples::error_samples,
        scan::error_samples,
        reduce_samples::error_samples,
    ];
    Ok(families.into_iter().map(|family| family()).collect::<chainrule_tensor::Result<Vec<_>>>()?.concat())
}
