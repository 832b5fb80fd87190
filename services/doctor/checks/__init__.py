"""What is right, what is not, and what to do: functions of what was seen. Pure; who looks is `services.doctor.seeing`."""
