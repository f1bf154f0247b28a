from sep_engine.cli import main

main()
