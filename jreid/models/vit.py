"""Vision Transformers ViT-S/16 and ViT-B/16 (Dosovitskiy et al. 2021, arXiv:2010.11929) as timm and
DINO have them, with the overlapping patches of TransReID (He et al. 2021, arXiv:2102.04378) and the
convolutional stem of TransReID-SSL (Luo et al. 2021, arXiv:2111.12084).
"""

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jreid.models.convolution import Conv
from jreid.models.norm import BatchNorm, InstanceBatchNorm
from jreid.models.remat import block

Maps = Float[Array, 'b h w c']
Tokens = Float[Array, 'b n d']

PATCH = 16
"""Pixels of a patch's sides."""
STEM_WIDTH = 64

_small = nn.initializers.truncated_normal(0.02)
_dense = partial(nn.Dense, kernel_init=_small)
# In one pass the variance of channels with a large mean would lose digits.
_layer_norm = partial(nn.LayerNorm, epsilon=1e-6, use_fast_variance=False)


class ConvolutionalStem(nn.Module):
    """TransReID-SSL's IBN-based stem (ICS): three convolutions to 64 channels at half the size,
    normalised by IBN-a, IBN-a and batch norm, each with a ReLU.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Maps, train: bool) -> Maps:
        for index, (kernel, stride, norm) in enumerate(
            ((7, 2, InstanceBatchNorm), (3, 1, InstanceBatchNorm), (3, 1, BatchNorm))
        ):
            conv = Conv(
                STEM_WIDTH, kernel, stride, kernel // 2, dtype=self.dtype, name=f'conv{index}'
            )
            x = norm('relu', dtype=self.dtype, name=f'bn{index}')(conv(x), train)
        return x


class Embedding(nn.Module):
    """Maps patches' embeddings [b, h, w, d] to tokens [b, 1 + h w, d].

    The learned class token comes first, then the patches row by row; to each its learned position
    is added.

    The parameters `positions` [h, w, d] fit one size of image.
    """

    @nn.compact
    def __call__(self, patches: Maps) -> Tokens:
        b, h, w, d = patches.shape
        token = self.param('class_token', _small, (d,), jnp.float32)
        place = self.param('class_position', _small, (d,), jnp.float32)
        positions = self.param('positions', _small, (h, w, d), jnp.float32)
        first = jnp.broadcast_to((token + place).astype(patches.dtype), (b, 1, d))
        rest = patches + positions.astype(patches.dtype)
        return jnp.concatenate([first, rest.reshape(b, h * w, d)], axis=1)


class Attention(nn.Module):
    """Multi-head self-attention of all tokens."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        b, n, d = x.shape
        joined = _dense(3 * d, dtype=self.dtype, name='qkv')(x)
        query, key, value = jnp.moveaxis(joined.reshape(b, n, 3, self.heads, -1), 2, 0)
        scores = jnp.einsum('bqhc,bkhc->bhqk', query, key) * query.shape[-1] ** -0.5
        weights = nn.softmax(scores.astype(jnp.float32), axis=-1).astype(self.dtype)
        mixed = jnp.einsum('bhqk,bkhc->bqhc', weights, value).reshape(b, n, d)
        return _dense(d, dtype=self.dtype, name='proj')(mixed)


class EncoderBlock(nn.Module):
    """Attention and a two-layer perceptron of four times the width, each behind a layer norm and
    beside a shortcut.
    """

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        norm, width = partial(_layer_norm, dtype=self.dtype), x.shape[-1]
        x = x + Attention(self.heads, self.dtype, name='attn')(norm(name='norm1')(x))
        hidden = _dense(4 * width, dtype=self.dtype, name='fc1')(norm(name='norm2')(x))
        hidden = nn.gelu(hidden, approximate=False)
        return x + _dense(width, dtype=self.dtype, name='fc2')(hidden)


class VisionTransformer(nn.Module):
    """Maps images [b, h, w, 3] to the class token or to the map of the patches' tokens.

    The class token is a map of one place, [b, 1, 1, width]; the other is [b, h/16, w/16, width].

    The learned positions fit one size of image: weights of another size are resized when they are
    read, a trained network is not. Any pooling leaves the class token as it is; systems that look
    at places of the map need the patches.

    Differs from TransReID: no stochastic depth, and no embedding of cameras. Images are normalised
    as in DINO, by ImageNet's mean and deviation; some of timm's weights were trained with 0.5.

    Attributes:
      width, depth, heads: of the tokens, the blocks and their attention.
      tokens: the result, 'class' or 'patches'.
      stem: 'patch', one 16x16 convolution, or 'ics', `ConvolutionalStem` before an 8x8 one.
      stride: pixels between two patches, 16 or, where they overlap (TransReID: 12), less. The map
        is then larger.
    """

    width: int = 384
    depth: int = 12
    heads: int = 6
    tokens: Literal['class', 'patches'] = 'class'
    stem: Literal['patch', 'ics'] = 'patch'
    stride: int = PATCH
    last_stride: int = 1
    dtype: Any = jnp.float32
    remat: bool = False

    @property
    def features(self) -> int:
        """Returns the channels of the result."""
        return self.width

    def setup(self) -> None:
        if self.last_stride != 1:
            raise ValueError(
                f'last_stride is {self.last_stride}; a ViT has no strided last stage, so it must be'
                ' 1 (--config.model.options.last_stride=1)'
            )
        if self.tokens not in ('class', 'patches') or self.stem not in ('patch', 'ics'):
            raise ValueError(
                f"tokens is '{self.tokens}' and stem '{self.stem}'; expected 'class' or 'patches',"
                " and 'patch' or 'ics'"
            )
        if not 1 <= self.stride <= PATCH or (self.stem == 'ics' and self.stride != PATCH):
            raise ValueError(
                f"stride is {self.stride} with stem '{self.stem}'; expected 1 to {PATCH} pixels,"
                f" and {PATCH} with the stem 'ics', whose patches do not overlap"
            )
        if self.width % self.heads:
            raise ValueError(
                f'width {self.width} is not a multiple of the {self.heads} heads; change one'
            )
        side, stride = PATCH, self.stride
        if self.stem == 'ics':
            self.conv_stem = ConvolutionalStem(self.dtype)
            side, stride = side // 2, stride // 2
        self.patch_embed = Conv(
            self.width, side, stride, 0, use_bias=True, dtype=self.dtype, kernel_init=_patches
        )
        self.embedding = Embedding()
        self.blocks = [EncoderBlock(self.heads, self.dtype) for _ in range(self.depth)]
        self.norm = _layer_norm(dtype=self.dtype)

    def __call__(self, images: Maps, train: bool = False) -> Maps:
        """Computes the class token or the patches' tokens as a map, float32."""
        if min(images.shape[1:3]) < PATCH:
            raise ValueError(
                f'images of {images.shape[1]}x{images.shape[2]} pixels; expected {PATCH} or more on'
                ' either side, one patch'
            )
        x = self.conv_stem(images, train) if self.stem == 'ics' else images
        patches = self.patch_embed(x)
        x = self.embedding(patches)
        for index in range(self.depth):
            x = self._block(index, x, train)
        x = self.norm(x).astype(jnp.float32)
        return x[:, :1, None] if self.tokens == 'class' else x[:, 1:].reshape(patches.shape)

    def _block(self, index: int, x: Tokens, train: bool) -> Tokens:
        return block(self, lambda network, y: network.blocks[index](y), x, train)


def _patches(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Draws the kernel of a convolution that is a matrix product, as those of the other layers."""
    return nn.initializers.lecun_normal()(key, shape, dtype)


def vit_small_16(**options: Any) -> VisionTransformer:
    """Builds ViT-S/16, 384 features."""
    return VisionTransformer(**options)


def vit_base_16(**options: Any) -> VisionTransformer:
    """Builds ViT-B/16, 768 features."""
    return VisionTransformer(**{'width': 768, 'heads': 12, **options})
