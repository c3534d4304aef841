//! Units compiled to pipelines, and bind groups: both are made once and kept.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

use ::wgpu;

use super::Unit;
use super::adapter::{Limits, missing};
use super::device::lock;
use super::memory::{Arena, Block};
use super::recorder::uniform_layout;
use super::source::MAX_BINDINGS;
use crate::{Error, ErrorKind, Result};

/// How many bind groups are kept; blocks are reused, so that a step of training comes back to the same ones.
const KEPT_BIND_GROUPS: usize = 1 << 14;

/// A unit that is ready to run.
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    /// The layout of group 0, which depends on the number of bindings alone.
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// The ranges of memory that a bind group binds, each as one binding or as the windows that it takes.
pub(crate) type Bound = [Option<Block>; MAX_BINDINGS];

pub(crate) struct Pipelines {
    device: wgpu::Device,
    limits: Limits,
    uniforms: wgpu::BindGroupLayout,
    pipelines: Mutex<HashMap<Unit, Arc<Pipeline>>>,
    layouts: Mutex<HashMap<u32, wgpu::BindGroupLayout>>,
    bind_groups: Mutex<HashMap<Bound, wgpu::BindGroup>>,
}

impl Pipelines {
    pub(crate) fn new(device: wgpu::Device, limits: Limits) -> Pipelines {
        let uniforms = uniform_layout(&device);
        let (pipelines, layouts, bind_groups) = (Mutex::default(), Mutex::default(), Mutex::default());
        Pipelines { device, limits, uniforms, pipelines, layouts, bind_groups }
    }

    pub(crate) fn units(&self) -> Vec<Unit> {
        lock(&self.pipelines).keys().copied().collect()
    }

    /// How many bind groups are kept.
    pub(crate) fn bind_groups(&self) -> usize {
        lock(&self.bind_groups).len()
    }

    /// The pipeline of a unit, compiled if need be.
    ///
    /// # Errors
    /// More storage buffers or invocations than the device takes; a text that does not compile, with what was said of it.
    #[track_caller]
    pub(crate) fn of(&self, unit: &Unit) -> Result<Arc<Pipeline>> {
        if let Some(pipeline) = lock(&self.pipelines).get(unit) {
            return Ok(pipeline.clone());
        }
        // Compiled without the lock: other threads may compile other units, at worst the same one.
        let pipeline = Arc::new(self.compile(unit)?);
        Ok(lock(&self.pipelines).entry(*unit).or_insert(pipeline).clone())
    }

    #[track_caller]
    fn compile(&self, unit: &Unit) -> Result<Pipeline> {
        let bindings = unit.storage_buffers();
        if bindings > self.limits.storage_buffers || unit.threads > self.limits.threads {
            return Err(missing(format!(
                "{} needs {bindings} storage buffers and {} invocations, the device has {} and {}",
                unit.label(),
                unit.threads,
                self.limits.storage_buffers,
                self.limits.threads
            )));
        }
        let layout = self.layout(bindings);
        let label = unit.label();
        let scopes = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation];
        let scopes = scopes.map(|filter| self.device.push_error_scope(filter));
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Wgsl(unit.text().into()),
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout), Some(&self.uniforms)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(unit.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Kernels write what they read.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        let errors = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop()));
        match errors.reduce(|first, _| first) {
            None => Ok(Pipeline { pipeline, layout }),
            Some(error) => Err(Error::new(ErrorKind::KernelCompile { kernel: label, log: error.to_string() })),
        }
    }

    fn layout(&self, bindings: u32) -> wgpu::BindGroupLayout {
        let entry = |binding| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: false },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let make = || {
            let entries: Vec<_> = (0..bindings).map(entry).collect();
            let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some("storage"), entries: &entries };
            self.device.create_bind_group_layout(&descriptor)
        };
        lock(&self.layouts).entry(bindings).or_insert_with(make).clone()
    }

    /// The bind group of these ranges.
    #[track_caller]
    pub(crate) fn bind_group(&self, pipeline: &Pipeline, bound: &Bound, arena: &Arena) -> Result<wgpu::BindGroup> {
        let mut groups = lock(&self.bind_groups);
        if let Some(group) = groups.get(bound) {
            return Ok(group.clone());
        }
        if groups.len() >= KEPT_BIND_GROUPS {
            groups.clear();
        }
        let pieces: Vec<Block> = bound.iter().flatten().flat_map(|&range| self.limits.pieces(range)).collect();
        let buffers: Vec<Option<wgpu::Buffer>> = pieces.iter().map(|block| arena.buffer(block.buffer)).collect();
        let mut entries = Vec::new();
        for (binding, (block, buffer)) in pieces.iter().zip(&buffers).enumerate() {
            let buffer = buffer.as_ref().ok_or_else(|| missing("an argument's memory is on another device".into()))?;
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset: block.start,
                size: NonZeroU64::new(block.size),
            });
            entries.push(wgpu::BindGroupEntry { binding: binding as u32, resource });
        }
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &pipeline.layout, entries: &entries };
        let group = self.device.create_bind_group(&descriptor);
        Ok(groups.entry(*bound).or_insert(group).clone())
    }

    /// Forgets the bind groups, which keep their buffers alive.
    pub(crate) fn forget_bind_groups(&self) {
        lock(&self.bind_groups).clear();
    }
}
