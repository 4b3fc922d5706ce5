"""What fills holes in a photo: by its surroundings, by our service, or by a diffusion model."""
