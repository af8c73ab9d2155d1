/**
 * The {@code fqt} command. {@link fqt.tools.Main} holds the conventions (exit codes, errors in one
 * sentence); each subcommand is one class that reads its options and calls the libraries, so that
 * whatever the command line does can be done from Java with the same few calls.
 */
package fqt.tools;
