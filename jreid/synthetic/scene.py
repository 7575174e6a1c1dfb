"""Cameras and the accidents of single images: pose, framing, light, sharpness, occlusion."""

import dataclasses

import numpy as np

from jreid.synthetic.domains import Domain
from jreid.synthetic.draws import Draws

_KEY_CAMERA, _KEY_TEXTURE, _KEY_FRAME, _KEY_CAMERAS = 2, 3, 4, 6
CAMERAS = 6


@dataclasses.dataclass(frozen=True)
class Camera:
    """One camera and its surroundings; angles in radians, lengths in metres."""

    key: tuple[int, ...]  # of its textures
    elevation: float
    distance: float
    yaw: tuple[float, float]  # the two directions of walking along its path
    sun: float
    sun_elevation: float
    sun_azimuth: float
    ambient: float
    ambient_colour: np.ndarray
    sun_colour: np.ndarray
    white_balance: np.ndarray
    exposure: float
    gamma: float
    saturation: float
    contrast: float
    haze: float
    resolution: float
    blur: float
    noise: float
    jpeg: float
    ground: str
    ground_tint: float
    wall: str
    wall_distance: float


@dataclasses.dataclass(frozen=True)
class Frame:
    """What differs from image to image of the same person in the same camera."""

    yaw: float
    phase: float  # of the step
    mode: str  # walk, stand, phone or pocket
    amplitude: float
    jitter: np.ndarray  # [6] radians
    head_yaw: float
    elevation: float
    distance: float
    shift: tuple[float, float]  # of the box, in its heights
    zoom: float
    lose_feet: bool  # a zoomed box loses the feet, else the head
    aspect: float
    sun: float
    sun_azimuth: float
    ambient: float
    exposure: float
    white_balance: np.ndarray
    place: float  # metres along the wall
    wall_factor: float
    resolution: float
    motion_blur: float
    noise: float
    noise_key: int
    jpeg: int
    fold: float
    occlusion: str  # none, person, pole or low
    occlusion_place: float
    occlusion_size: float
    occlusion_colour: float


def draw_camera(seed: int, domain: Domain, camera: int) -> Camera:
    """Draws the camera of this number, 0 to 5.

    Every range is cut in six and each camera has a part of its own, in another order for every
    parameter (a Latin hypercube). So the six cameras always differ. With free draws, the rank-1 of
    a colour histogram varied between 15 and 41 % from seed to seed.
    """
    shared, draws = (
        Draws(seed, domain.key, _KEY_CAMERAS),
        Draws(seed, domain.key, _KEY_CAMERA, camera),
    )

    def spread(name: str, low: float = 0.0, high: float = 1.0) -> float:
        return (
            low
            + (high - low) * (shared.order(name, CAMERAS)[camera] + draws.uniform(name)) / CAMERAS
        )

    yaw = spread('yaw', 0, 2 * np.pi)
    tint = np.array(
        [draws.uniform('ambient.red', 0.94, 1.06), 1.0, draws.uniform('ambient.blue', 0.94, 1.06)]
    )
    return Camera(
        key=(seed, domain.key, _KEY_TEXTURE, camera),
        elevation=np.deg2rad(spread('elevation', *domain.elevation)),
        distance=spread('distance', *domain.distance),
        yaw=(yaw, yaw + np.pi + draws.normal('yaw_back', 0.4)),
        sun=spread('sun', *domain.sun),
        sun_elevation=np.deg2rad(spread('sun_elevation', *domain.sun_elevation)),
        sun_azimuth=spread('sun_azimuth', 0, 2 * np.pi),
        ambient=spread('ambient', *domain.ambient),
        ambient_colour=np.array(domain.ambient_colour) * tint,
        sun_colour=np.array(domain.sun_colour),
        white_balance=np.array(
            [spread('white_red', *domain.white_red), 1.0, spread('white_blue', *domain.white_blue)]
        ),
        exposure=spread('exposure', *domain.exposure),
        gamma=spread('gamma', *domain.gamma),
        saturation=spread('saturation', *domain.saturation),
        contrast=spread('contrast', *domain.contrast),
        haze=spread('haze', *domain.haze),
        resolution=spread('resolution', *domain.resolution),
        blur=spread('blur', *domain.blur),
        noise=spread('noise', *domain.noise),
        jpeg=spread('jpeg', *domain.jpeg),
        ground=domain.ground[int(spread('ground', 0, len(domain.ground)))],
        ground_tint=spread('ground_tint', 0.75, 1.2),
        wall=domain.wall[int(spread('wall', 0, len(domain.wall)))],
        wall_distance=spread('wall_distance', 2.5, 9.0),
    )


def _draw_yaw(draws: Draws, camera: Camera) -> float:
    way = draws.choice('way', (0, 1, 2), (0.45, 0.35, 0.20))
    if way == 2:
        return draws.uniform('yaw', 0, 2 * np.pi)
    return camera.yaw[way] + draws.normal('yaw_spread', 0.28)


def draw_frame(
    seed: int, domain: Domain, identity: int, camera_number: int, index: int, camera: Camera
) -> Frame:
    """Draws the frame of one image."""
    draws = Draws(seed, domain.key, _KEY_FRAME, identity, camera_number, index)
    red, blue = draws.normal('white_red', 0.025), draws.normal('white_blue', 0.025)
    truncated = draws.flag('truncated', 0.06)
    poor = draws.flag('poor', 0.06)
    return Frame(
        yaw=_draw_yaw(draws, camera),
        phase=draws.uniform('phase', 0, 2 * np.pi),
        mode=draws.choice('mode', ('walk', 'stand', 'phone', 'pocket'), (0.74, 0.12, 0.09, 0.05)),
        amplitude=draws.uniform('amplitude', 0.7, 1.1),
        jitter=np.array([draws.normal(f'jitter.{i}', 0.06) for i in range(6)]),
        head_yaw=draws.normal('head_yaw', 0.3),
        elevation=camera.elevation + draws.normal('elevation', 0.035),
        distance=camera.distance * draws.uniform('distance', 0.75, 1.35),
        shift=(draws.normal('shift.x', 0.045), draws.normal('shift.y', 0.03)),
        zoom=draws.uniform('zoom', 0.90, 1.10)
        * (draws.uniform('zoom.truncated', 1.1, 1.35) if truncated else 1),
        lose_feet=draws.flag('lose_feet', 0.75),
        aspect=draws.uniform('aspect', 0.72, 0.98),
        sun=camera.sun
        * (
            draws.uniform('sun', 0.7, 1.1)
            if draws.flag('sunny', 0.8)
            else draws.uniform('sun.cloud', 0.0, 0.3)
        ),
        sun_azimuth=camera.sun_azimuth + draws.normal('sun_azimuth', 0.15),
        ambient=camera.ambient * np.exp(draws.normal('ambient', 0.08)),
        exposure=camera.exposure * np.exp(draws.normal('exposure', 0.10)),
        white_balance=camera.white_balance * np.exp(np.array([red, 0.0, blue])),
        place=draws.uniform('place', 0, 100),
        wall_factor=draws.uniform('wall_factor', 0.6, 1.5),
        resolution=camera.resolution
        * draws.uniform('resolution', 0.75, 1.15)
        * (draws.uniform('resolution.poor', 0.5, 0.7) if poor else 1),
        motion_blur=draws.uniform('motion_blur', 0, 2.5) if draws.flag('moving', 0.25) else 0.0,
        noise=camera.noise * draws.uniform('noise', 0.8, 1.3),
        noise_key=draws.integer('noise_key'),
        jpeg=int(np.clip(camera.jpeg + draws.normal('jpeg', 8), 15, 95)),
        fold=draws.uniform('fold'),
        occlusion=draws.choice(
            'occlusion', ('none', 'person', 'pole', 'low'), (0.86, 0.07, 0.03, 0.04)
        ),
        occlusion_place=draws.uniform('occlusion.place'),
        occlusion_size=draws.uniform('occlusion.size'),
        occlusion_colour=draws.uniform('occlusion.colour'),
    )
