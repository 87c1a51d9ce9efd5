/** Environments: what differs between a laptop and production is in the overlays that are named after them. */

/** The environment that releases go to by default; where its overlays say nothing, the base applies. */
export const defaultEnvironment = "local";

/** The trailer that names a commit's environment; a commit without it belongs to the default one. */
export const environmentTrailer = "Environment";

/** The environment whose overlay a path lies in; undefined outside of overlays. */
export function environmentOf(path: string): string | undefined {
  return /(?:^|\/)overlays\/([^/]+)\//.exec(path)?.[1];
}

/** The trailer of a commit for an environment, none for the default one. */
export function environmentTrailers(environment: string): Record<string, string> {
  return environment === defaultEnvironment ? {} : { [environmentTrailer]: environment };
}

/** How a command line names an environment, for messages that say what to run next; nothing for the default one. */
export function environmentOption(environment: string): string {
  return environment === defaultEnvironment ? "" : ` --environment ${environment}`;
}
