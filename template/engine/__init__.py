"""What keeps a run right. It is yours too, and seldom opened; of the root it imports config alone.

A file imports from its own floor and from those below. From the top:

data, steps and checkpoints
    agreement      what all ranks agree on after a step
    checkpoint     what a run needs to go on: saved by rank 0, loaded by all
    restore        how its parts go on with what was saved
    parts          what of a run has a state: networks, optimizers, and more
    optimizer_state  what of an optimizer comes back, and what the run says
    retention      which checkpoints a run has, and which of them stay
    inference      the network of a run, for programs that use it
    evaluation     the validation of a network
    culprit        which sample makes a loss or a gradient no number
    dataloader     the loaders of a rank
    workers        the processes that load data for it
    reader         the data as it is read: samples, augmented
    batch          what a batch holds, and its way to the device
    sampler        which samples each rank reads, in which order

settings and metrics
    check          --check: one step, and what it did
    profiling      --profile: where the time goes
    metrics        metrics.jsonl, the lines on the terminal, and the tracker
    measures       what metrics of model.py makes of the sums, and which is best
    sums           what loss_sums of model.py gives, added up over passes and ranks
    settings       the defaults, a TOML file and the command line
    limits         what is refused before a run begins

processes
    failures       how a run fails: soon, on all ranks, with the first cause
    distributed    how processes meet, what each of them needs, how they part
    replicas       the ranks' copies of the network, which must be the same
    launcher       what starts the ranks, and tells how one ended that could not
    signals        what asks a run to stop
    peers          the other ranks of this machine: that one is gone
    first_cause    which rank failed first
    watchdog       ends a run in which nothing moves any more
    run_dir        one run at a time in a directory
    run_state      how the run of a directory does, or ended

ground
    storage        folders that are whole or not there
    state          what a checkpoint may hold: tensors, numbers and texts
    checksum       size and CRC32 of a file
    interrupt      Ctrl-C while torch is being loaded
    output         what is printed, and never ends a run
    terminal       a run's lines, and its bar
    begin          how programs that train nothing end: imported before all else
    async_writer   writes beside the training
    plain          settings of any kind as TOML has them, and back
    converter      how values are taken from TOML
    memmap         datasets in files of any size
    resources      what this process may use and has used: cores, memory
    random_state   seeds, and the states of random generators
    variables      who started this process, and what variables say of other starts
    hints          what an exception means, and what to do
    errors         a fact and a remedy, told by one rank
"""

import sys

try:
    import fcntl  # noqa: F401  # whether it is there is the question
except ImportError:
    fact = "error: this needs Linux or macOS, and Windows is neither"
    sys.exit(f"{fact}\nhint: install and run it in WSL, Windows' own Linux: wsl --install")
