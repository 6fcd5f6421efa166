"""Reading annotations, generating figures, augmenting, and feeding `model.fit`."""
