"""Every launch leaves a folder behind from which it can be understood and repeated."""
