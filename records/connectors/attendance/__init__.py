"""What entries of attendance say of a school day, whatever source they come from.

It owns how classes missed become days, and which entries say too little of a day to count as
absence; it guesses neither. What a source's codes mean is said in its profile. Start with
`classes`.
"""
