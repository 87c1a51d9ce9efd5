"use no memo";
/** Forms with the interface of react-form 2, on hooks. The pages' compiler would keep what `getValue()` said first: it stays out. */
import * as React from "react";
import type {
  FieldApi as FieldApiType,
  FieldPath,
  FieldProps,
  FormApi as FormApiType,
  FormErrors,
  FormProps,
  FormState,
} from "./types";

export type * from "./types";

/** The parts of a field's name. */
function parts(path: FieldPath): string[] {
  const text = Array.isArray(path) ? path.map(String) : path.split(".");
  return text.flatMap((part) => part.replace(/\[(\w+)\]/g, ".$1").split(".")).filter((part) => part !== "");
}

/** A value by the name of its field; also where the name stands whole as a key, as names with a slash or a dot do. */
export function valueAt(source: any, path: FieldPath): any {
  if (typeof path === "string" && source !== null && typeof source === "object" && path in source)
    return source[path];
  return parts(path).reduce(
    (value, part) => (value === null || value === undefined ? value : value[part]),
    source,
  );
}

/** A copy in which one field has another value; what is beside it stays the same object. */
function withValue(source: any, path: FieldPath, value: any): any {
  if (typeof path === "string" && source !== null && typeof source === "object" && path in source)
    return { ...source, [path]: value };
  const set = (from: any, [part, ...rest]: string[]): any => {
    if (part === undefined) return value;
    const copy = Array.isArray(from) ? [...from] : { ...from };
    (copy as any)[part] = set((from as any)?.[part], rest);
    return copy;
  };
  return set(source, parts(path));
}

const keyOf = (path: FieldPath): string => (Array.isArray(path) ? path.join(".") : path);

const Context = React.createContext<FormApiType | null>(null);

const hasError = (error: any): boolean =>
  error !== null && typeof error === "object" ? Object.values(error).some(hasError) : Boolean(error);

/** A form: its state, and an API whose values are those of now for whoever keeps it. */
export function Form(props: FormProps): React.ReactElement {
  const initial = (): FormState => ({ values: props.defaultValues ?? {}, touched: {}, errors: {} });
  const state = React.useRef<FormState | null>(null);
  state.current ??= initial();
  const latest = React.useRef(props);
  latest.current = props;
  const [version, redraw] = React.useReducer((count: number) => count + 1, 0);

  const validated = (next: FormState): FormState => {
    const errors = latest.current.validateError?.(next.values);
    return errors === undefined ? next : { ...next, errors: errors ?? {} };
  };

  // Another object after each change, so that nobody who compares it takes it for unchanged.
  const api = React.useMemo<FormApiType>(() => {
    const current = (): FormState => state.current as FormState;
    const change = (next: FormState): void => {
      state.current = next;
      redraw();
    };
    const made: FormApiType = {
      get values() {
        return current().values;
      },
      get touched() {
        return current().touched;
      },
      get errors() {
        return current().errors;
      },
      setValue: (field, value) =>
        change(validated({ ...current(), values: withValue(current().values, field, value) })),
      setAllValues: (values) => change(validated({ ...current(), values })),
      setTouched: (field, touched = true) =>
        change(validated({ ...current(), touched: { ...current().touched, [keyOf(field)]: touched } })),
      setError: (field, error) =>
        change({ ...current(), errors: { ...current().errors, [keyOf(field)]: error } }),
      getFormState: () => ({ ...current() }),
      setFormState: (next) => change({ ...current(), ...next }),
      resetAll: () => change({ values: latest.current.defaultValues ?? {}, touched: {}, errors: {} }),
      submitForm: (event) => {
        event?.preventDefault?.();
        const { validateError, preSubmit, onSubmit, onSubmitFailure } = latest.current;
        const errors: FormErrors = validateError?.(current().values) ?? {};
        const touched = Object.fromEntries(Object.keys(errors).map((field) => [field, true]));
        change({ ...current(), errors, touched: { ...current().touched, ...touched } });
        if (hasError(errors)) {
          onSubmitFailure?.(errors);
          return;
        }
        const values = preSubmit ? preSubmit(current().values) : current().values;
        onSubmit?.(values, event, made);
      },
    };
    return made;
    // `version` is what makes it another one.
  }, [version]);

  const given = React.useRef<FormApiType | null>(null);
  if (given.current !== api) {
    given.current = api;
    props.getApi?.(api);
  }
  const drawn = React.useRef(false);
  React.useEffect(() => {
    if (drawn.current) latest.current.formDidUpdate?.(state.current as FormState);
    drawn.current = true;
  }, [version]);
  const { children } = props;
  return (
    <Context.Provider value={api}>
      {typeof children === "function" ? children(api) : children}
    </Context.Provider>
  );
}

/** A form inside a form: its values are one field of the outer one's. */
export function NestedForm({
  field,
  children,
}: {
  field: FieldPath;
  children: React.ReactElement<FormProps>;
}) {
  const outer = React.useContext(Context);
  if (outer === null) throw new Error("NestedForm must be used inside <Form>");
  const { formDidUpdate } = children.props;
  return React.cloneElement(children, {
    defaultValues: valueAt(outer.values, field) ?? children.props.defaultValues,
    formDidUpdate: (state: FormState) => {
      outer.setValue(field, state.values);
      formDidUpdate?.(state);
    },
  });
}

/** Gives a component the API of its field, from the form around it or from the one that it is handed. */
export function FormField(Component: React.ComponentType<any>): React.ComponentType<any> {
  return function Field({ field, formApi, ...rest }: FieldProps & Record<string, any>) {
    const around = React.useContext(Context);
    const api = formApi ?? around;
    if (!api) throw new Error("FormField components must be used inside <Form> or be passed formApi");
    const fieldApi: FieldApiType = {
      getValue: () => valueAt(api.values, field),
      getError: () => valueAt(api.errors, field),
      getTouched: () => valueAt(api.touched, field),
      setValue: (value) => api.setValue(field, value),
      setError: (error) => api.setError(field, error),
      setTouched: (touched) => api.setTouched(field, touched),
    };
    return <Component {...rest} fieldApi={fieldApi} />;
  };
}

type Inner<T> = T & {
  fieldApi: FieldApiType;
  onChange?: (value: any) => void;
  onBlur?: (event: any) => void;
};

export const Text = FormField(({ fieldApi, onChange, onBlur, ...rest }: Inner<any>) => (
  <input
    type="text"
    {...rest}
    value={fieldApi.getValue() ?? ""}
    onChange={(event) => {
      fieldApi.setValue(event.target.value);
      onChange?.(event.target.value);
    }}
    onBlur={(event) => {
      fieldApi.setTouched(true);
      onBlur?.(event);
    }}
  />
));

export const TextArea = FormField(({ fieldApi, onChange, onBlur, ...rest }: Inner<any>) => (
  <textarea
    {...rest}
    value={fieldApi.getValue() ?? ""}
    onChange={(event) => {
      fieldApi.setValue(event.target.value);
      onChange?.(event.target.value);
    }}
    onBlur={(event) => {
      fieldApi.setTouched(true);
      onBlur?.(event);
    }}
  />
));

const Checkbox = FormField(({ fieldApi, onChange, onBlur, ...rest }: Inner<any>) => (
  <input
    {...rest}
    type="checkbox"
    checked={Boolean(fieldApi.getValue())}
    onChange={(event) => {
      fieldApi.setValue(event.target.checked);
      onChange?.(event.target.checked);
    }}
    onBlur={(event) => {
      fieldApi.setTouched(true);
      onBlur?.(event);
    }}
  />
));

export const ReactForm = { FormField, Form, Text, TextArea, Checkbox };
export declare namespace ReactForm {
  type FieldApi = FieldApiType;
  type FormApi = FormApiType;
}
