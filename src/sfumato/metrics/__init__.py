"""Pure functions from arrays to numbers.

``pictures`` compares pictures pixel by pixel, ``perceptual`` their feature maps, ``sets`` whole sets of pictures,
``text`` pictures with captions; ``intervals`` says how sure a number is. The networks behind features are the caller's.
"""
