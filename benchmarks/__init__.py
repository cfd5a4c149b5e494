"""What numalab promises about speed, and how it is measured: `make gates` judges, `make bench` only measures."""
