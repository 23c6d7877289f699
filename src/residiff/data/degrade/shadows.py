"""Mattes of cast shadows: the level set of a random distance field.

A caster (a building's corner, a person, a tree) is the signed distance f(p) to a shape in a frame of its own, seen
through a random affine map, as the sun slants a shadow. The union of casters is the minimum of their fields. The level
c is the quantile of f at the wanted coverage, so the coverage is met whatever the shapes; the penumbra is a ramp of the
wanted width about f = c, wider further away from the caster, as under a real sun. Lengths are shares of the image's
longer side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from residiff.data.degrade.draws import resize, smooth_field, uniform
from residiff.data.degrade.fields import capsules, coarse_centres, pixel_centres, quantile

# A standing figure: ends (x, y, x, y) and radius of head, trunk, arms and legs.
_FIGURE = (
    (0.00, -0.80, 0.00, -0.75, 0.15),
    (0.00, -0.45, 0.00, 0.10, 0.20),
    (-0.15, -0.45, -0.38, 0.00, 0.07),
    (0.15, -0.45, 0.34, -0.02, 0.07),
    (-0.10, 0.15, -0.17, 0.95, 0.10),
    (0.10, 0.15, 0.20, 0.95, 0.10),
)


def shadow_matte(height: int, width: int, coverage: float, penumbra: float, generator: torch.Generator) -> Tensor:
    """A matte (1, height, width) in [0, 1] that is above one half on about `coverage` of the image.

    The penumbra's width is `penumbra` of the longer side on average (at least one pixel) and differs along the shadow.
    """
    longest = max(height, width)
    field = resize(_casters(coarse_centres(height, width), coverage, generator), height, width)
    level = quantile(field, coverage)
    ramp = _ramp(pixel_centres(height, width), generator)
    share = (level - field) / (max(penumbra, 1 / longest) * ramp) + 0.5
    share = share.clamp_(0, 1)
    return share * share * (3 - 2 * share)


def _ramp(points: Tensor, generator: torch.Generator) -> Tensor:
    """Factor (1, H, W) from 0.4 to 1.6 that grows along a random direction."""
    angle = uniform(0, 2 * math.pi, (), generator).item()
    along = points[:1] * math.cos(angle) + points[1:] * math.sin(angle)
    return (1 + 1.2 * along).clamp_(0.4, 1.6)


def _casters(points: Tensor, coverage: float, generator: torch.Generator) -> Tensor:
    """The union (1, H, W) of one to three random casters of about the wanted area, its edge rough or not."""
    count = int(torch.randint(1, 4, (), generator=generator))
    size = math.sqrt(coverage / count)
    field = torch.stack([_caster(points, size, generator) for _ in range(count)]).amin(0)
    roughness = 0.06 * size * uniform(-0.5, 1, (), generator).clamp(min=0)
    return field + roughness * smooth_field(points.shape[1], points.shape[2], 8, 2, generator)


def _caster(points: Tensor, size: float, generator: torch.Generator) -> Tensor:
    """Distance (1, H, W) to one caster of about `size`, somewhere in the image, turned, slanted and stretched."""
    kind = int(torch.randint(0, 3, (), generator=generator))
    x, y, angle, slant, stretch = torch.rand(5, generator=generator).sub_(0.5).tolist()
    extent = points.flatten(1).amax(1)
    local = points - (extent * torch.tensor([2 * x, 2 * y])).view(2, 1, 1)
    cos, sin = math.cos(2 * math.pi * angle), math.sin(2 * math.pi * angle)
    longer = 2.0**stretch
    turn = torch.tensor([[cos / longer, sin / longer], [-sin * longer, cos * longer]])
    shear = torch.tensor([[1.0, slant], [0.0, 1.0]])
    scale = size * (0.6, 1.1, 1.0)[kind]
    local = torch.einsum("ij,jhw->ihw", shear @ turn, local) / scale
    return (_polygon, _figure, _tree)[kind](local, generator) * scale


def _polygon(points: Tensor, generator: torch.Generator) -> Tensor:
    """A convex polygon of three to six sides: the largest of the distances to its sides."""
    sides = int(torch.randint(3, 7, (), generator=generator))
    angles = (torch.arange(sides) + uniform(-0.3, 0.3, (sides,), generator)) * (2 * math.pi / sides)
    normals = torch.stack([angles.cos(), angles.sin()], 1)
    distances = uniform(0.6, 1.1, (sides,), generator).view(-1, 1, 1)
    return (torch.einsum("ij,jhw->ihw", normals, points) - distances).amax(0, keepdim=True)


def _figure(points: Tensor, generator: torch.Generator) -> Tensor:
    """A standing figure, its limbs moved a little."""
    limbs = torch.tensor(_FIGURE)
    limbs[:, 2] += uniform(-0.15, 0.15, (len(_FIGURE),), generator)
    return capsules(points, limbs)


def _tree(points: Tensor, generator: torch.Generator) -> Tensor:
    """A trunk, seven branches and the leaves about their ends."""
    start = uniform(-0.5, 0.5, (7,), generator)
    angle = uniform(0.3, 1.3, (7,), generator) * torch.tensor([-1.0, 1.0] * 4)[:7]
    length = uniform(0.3, 0.8, (7,), generator)
    ends = torch.stack([angle.sin() * length, start - angle.cos() * length], 1)
    trunk = torch.tensor([[0.0, 1.0, 0.0, -0.6, 0.07]])
    branches = torch.cat([torch.zeros(7, 1), start[:, None], ends, torch.full((7, 1), 0.035)], 1)
    leaves = ends.repeat(2, 1) + uniform(-0.15, 0.15, (14, 2), generator)
    crown = torch.cat([leaves, leaves, uniform(0.06, 0.2, (14, 1), generator)], 1)
    return capsules(points, torch.cat([trunk, branches, crown]))
