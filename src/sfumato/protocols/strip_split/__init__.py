"""Each cloud runs the whole U-Net on its tile of the picture; they meet only where tiles interact."""
