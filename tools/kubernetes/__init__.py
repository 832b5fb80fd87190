"""What deploy/kubernetes is made of: tables of processes, topics, rights and arrows, and the objects that follow from them."""
