"use no memo";
import * as React from "react";
import "./styles/components.scss";

interface CheckboxProps {
  value?: boolean;
  onChange?: (value: boolean) => void;
  style?: React.CSSProperties;
}

/** A box that is ticked or not. */
export const Checkbox = ({ value, onChange, style }: CheckboxProps) => (
  <div
    role="checkbox"
    aria-checked={Boolean(value)}
    tabIndex={0}
    className={`checkbox ${value ? "checkbox--selected" : ""}`}
    style={style}
    onClick={(event) => {
      event.preventDefault();
      onChange?.(!value);
    }}
    onKeyDown={(event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      onChange?.(!value);
    }}
  >
    {value && <i className="fa fa-check" />}
  </div>
);

interface TooltipProps {
  content?: React.ReactNode;
  inverted?: boolean;
  children?: React.ReactNode;
}

/** What is said of something while the pointer is on it: above, or below where it is inverted. */
export function Tooltip({ content, inverted, children }: TooltipProps) {
  const [shown, setShown] = React.useState(false);
  return (
    <div
      style={{ position: "relative" }}
      onMouseEnter={() => setShown(true)}
      onMouseLeave={() => setShown(false)}
    >
      {shown && content && (
        <div role="tooltip" className={`tooltip ${inverted ? "tooltip--inverted" : ""}`}>
          {content}
        </div>
      )}
      {children}
    </div>
  );
}

interface ActionButtonProps {
  action?: (event: any) => void;
  /** Classes of an icon. */
  icon?: string;
  label?: string;
  disabled?: boolean;
  tooltip?: React.ReactNode;
}

/** A button of an icon, a label or both. */
export const ActionButton = ({ action, icon, label, disabled, tooltip }: ActionButtonProps) => (
  <Tooltip content={tooltip}>
    <button
      type="button"
      className={`action-button ${disabled ? "action-button--disabled" : ""}`}
      disabled={Boolean(disabled)}
      onClick={(event) => action?.(event)}
    >
      {icon && <i className={icon} />}
      {label && <span>{label}</span>}
    </button>
  </Tooltip>
);

interface AutocompleteProps {
  items: string[];
  /** Other words by which an item is found. */
  abbreviations?: Map<string, string>;
  value: string;
  placeholder?: string;
  onChange: (event: React.ChangeEvent<HTMLInputElement>) => void;
  onItemClick?: (item?: string) => void;
  style?: React.CSSProperties;
  inputStyle?: React.CSSProperties;
}

/** An input with what it may say; Enter takes the first item that fits, or the text as it is. */
export function Autocomplete(props: AutocompleteProps) {
  const { items, abbreviations, value, placeholder, onChange, onItemClick, style, inputStyle } = props;
  const [opened, setOpened] = React.useState(false);
  const [selected, setSelected] = React.useState(-1);
  const text = value.toLowerCase();
  const fitting = items.filter((item) =>
    [item, abbreviations?.get(item) ?? ""].some((word) => word !== "" && word.toLowerCase().includes(text)),
  );
  const choose = (item?: string): void => {
    setSelected(-1);
    onItemClick?.(item);
  };
  const onKeyDown = (event: React.KeyboardEvent<HTMLInputElement>): void => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) setSelected((now) => Math.min(Math.max(now + step, -1), fitting.length - 1));
    else if (event.key === "Enter") choose(fitting[selected]);
    else if (event.key === "Escape") event.currentTarget.blur();
    else return;
    event.preventDefault();
  };
  return (
    <div className="autocomplete" style={style}>
      <input
        className="autocomplete__input input"
        style={inputStyle}
        value={value}
        placeholder={placeholder}
        onChange={(event) => {
          setSelected(-1);
          onChange(event);
        }}
        onFocus={() => setOpened(true)}
        onBlur={() => setOpened(false)}
        onKeyDown={onKeyDown}
      />
      {opened && fitting.length > 0 && (
        <div className="autocomplete__items" role="listbox">
          {fitting.map((item, index) => (
            <div
              key={item}
              role="option"
              aria-selected={index === selected}
              tabIndex={-1}
              className={`autocomplete__items__item ${index === selected ? "autocomplete__items__item--selected" : ""}`}
              onMouseDown={(event) => {
                event.preventDefault();
                choose(item);
              }}
            >
              {item}
              {abbreviations?.get(item) && <span> ({abbreviations.get(item)})</span>}
            </div>
          ))}
        </div>
      )}
    </div>
  );
}
