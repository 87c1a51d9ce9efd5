import { InvalidArgumentError } from "commander";

/** Reads a time such as 2026-01-31T12:00:00Z, or an age such as 2h, of a command line. Throws InvalidArgumentError. */
export const moment = (text: string): Date => {
  const [, amount, unit = ""] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }[unit];
  // Date would take 5 for the year 2001.
  const named = /^\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?$/.test(text)
    ? text
    : "";
  const time = amount && seconds ? new Date(Date.now() - Number(amount) * seconds * 1000) : new Date(named);
  if (Number.isNaN(time.getTime()))
    throw new InvalidArgumentError("must be a time such as 2026-01-31T12:00:00Z, or an age such as 2h.");
  return time;
};
