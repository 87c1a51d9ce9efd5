/** Whether this code runs from a checkout or from a package that was built from it. */

declare const GITOPS_BUILD: string | undefined;

/** Names a package's content; undefined in a checkout. */
export const build: string | undefined = typeof GITOPS_BUILD === "undefined" ? undefined : GITOPS_BUILD;

/** A command as it is called here: a package has no npm scripts. */
export const called = (command: string): string =>
  build === undefined ? command : command.replaceAll(/npm run ([\w:-]+)(?: --(?= |$))?/g, "gitops $1");
