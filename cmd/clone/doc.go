// Command clone runs KVM virtual machines, stores them as templates and forks copies of those that share their memory.
//
// It is the command line only: each subcommand is one file, which turns flags into a request, makes one call and prints
// the result. What a VM is and does is in the packages under internal.
//
// Reading order: main.go (the list of commands), exit.go (how errors become messages and exit statuses), vm.go (how a
// command finds the VM it is about), output.go (tables and JSON), then any subcommand.
//
// Rules:
//   - Results go to standard output, everything else to standard error. --json prints one JSON document.
//   - The exit status is 0, 1 for a failure, 2 for a command line that is wrong; clone exec has its own.
//   - The start of the program is part of the time a fork takes: nothing is done in init functions.
package main
