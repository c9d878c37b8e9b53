// The import `value` of Winograd's transforms in rows: one number at a time.
alias Value = f32;
