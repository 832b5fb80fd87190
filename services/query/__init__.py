"""The query service: goods traced level by level over gRPC, each answer with its proofs, each look recorded first."""
