"use no memo";
import * as React from "react";

/** What a promise gives, whether it is still awaited, and whether it failed. */
export function useData<T>(
  load: () => Promise<T>,
  initial?: T | null,
  onData?: ((data: T) => unknown) | null,
  dependencies: React.DependencyList = [],
): [T, boolean, { state: boolean; message?: string; retry: () => void }] {
  const [data, setData] = React.useState<T | null | undefined>(initial);
  const [loading, setLoading] = React.useState(true);
  const [error, setError] = React.useState<Error | undefined>(undefined);
  const [attempt, retry] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => {
    let ended = false;
    setLoading(true);
    setError(undefined);
    load()
      .then((loaded) => {
        if (ended) return;
        setData(loaded);
        onData?.(loaded);
      })
      .catch((failure) => {
        if (!ended) setError(failure);
      })
      .finally(() => {
        if (!ended) setLoading(false);
      });
    return () => {
      ended = true;
    };
  }, [attempt, ...dependencies]);
  return [data as T, loading, { state: error !== undefined, message: error?.message, retry }];
}
