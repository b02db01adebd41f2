"""Feature inversion: pictures from what a vision network gave at a cut, with a public diffusion model as the prior.

Source: "Unlocking Visual Secrets: Inverting Features with Diffusion Priors for Image Reconstruction".
"""
