//! The program on several ranks, started by mpirun on this machine: the same bytes as by one process, and never a hang. Needs
//! the feature `mpi` and an MPI (`make setup-mpi`); `make test-mpi` runs it.

mod answers;
mod deploy;
#[cfg(target_os = "linux")]
mod hosts;
#[cfg(target_os = "linux")]
mod kills;
mod launch;
mod refused;
mod runs;
