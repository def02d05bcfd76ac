"""The lines of a run on the terminal, and a bar below them where somebody watches."""

from threading import RLock

from tqdm import tqdm


class Terminal:
    """Of rank 0; elsewhere than on a terminal it has plain lines alone."""

    def __init__(self, steps: int, first_step: int) -> None:
        tqdm.set_lock(RLock())  # its own one is shared by processes, and warns when left locked
        self.bar = tqdm(total=steps, initial=first_step, unit="step", disable=None)

    def say(self, text: str) -> None:
        """One line, above the bar."""
        self.bar.clear()
        print(text, flush=True)
        self.bar.refresh()

    def tell(self, step: int, values: dict[str, float]) -> None:
        """What is known of a step, on one line."""
        self.bar.update(step - self.bar.n)
        self.say("  ".join([f"step {step}", *(f"{name} {x:.5g}" for name, x in values.items())]))

    def close(self) -> None:
        self.bar.close()
