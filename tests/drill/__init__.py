"""`make drill`: each part of a system under load is killed in turn, and Prometheus must tell, by the project's own rules."""
