"""The command `tidegate`: `python -m tidegate` does the same."""

from tidegate.own_process import use_own_packages


def main() -> None:
    """Run the command line. Exits with its exit code."""
    use_own_packages()
    from cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
